// Scenes of one movie from its features: segment model.mseg clip=clip.npy audio=audio.npy
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <megaseg/megaseg.hpp>

// A float32 array (shots, width) in C order, as numpy.save writes it; empty if the file holds something else.
static std::vector<float> read_npy(const std::string& path, int& shots) {
  std::ifstream file(path, std::ios::binary);
  unsigned char start[10] = {};
  file.read(reinterpret_cast<char*>(start), sizeof start);
  std::string header(start[8] + 256U * start[9], ' ');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  const auto at = header.find("'<f4', 'fortran_order': False, 'shape': (");
  int width = 0;
  if (at == std::string::npos || std::sscanf(&header[at], "%*[^(](%d, %d)", &shots, &width) != 2) return {};
  std::vector<float> values(static_cast<std::size_t>(shots) * static_cast<std::size_t>(width));
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

int main(int argc, char** argv) {
  if (argc < 2) return std::cerr << "usage: segment MODEL.mseg MODALITY=ARRAY.npy...\n", 2;
  int shots = 0;
  std::map<std::string, std::vector<float>> arrays;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i], name = argument.substr(0, argument.find('='));
    arrays[name] = read_npy(argument.substr(name.size() + 1), shots);
  }
  auto model = megaseg::embed::Model::open(argv[1]);
  if (!model) return std::cerr << model.error().message << "\n", 1;
  megaseg::embed::Features features;
  for (const std::string& name : model->modalities()) features.push_back(arrays[name]);
  auto last = model->boundaries(features, shots);
  if (!last) return std::cerr << last.error().message << "\n", 1;
  for (int shot = 0, first = 0; shot < shots; ++shot) {
    if ((*last)[shot] || shot + 1 == shots) std::cout << first << " " << shot << "\n", first = shot + 1;
  }
}

// window FILE TIMES: one window of a model, so often; tests/arm/count.sh counts its instructions. FILE is a compiled
// model, or *.steps (tests/arm/window.py): the same ops as plain loops, which the compiler may not vectorise.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <megaseg/megaseg.hpp>
#include <string>
#include <vector>

namespace {

using Floats = std::vector<float>;

// out [rows, n] = x [rows, k] weight [n, k]^T + bias [n].
void linear(const float* x, const float* weight, const float* bias, int rows, int n, int k, bool gelu, float* out) {
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = bias[j];
      for (int p = 0; p < k; ++p) sum += x[i * k + p] * weight[j * k + p];
      out[i * n + j] = gelu ? sum * (1 + std::erf(sum * 0.70710678F)) / 2 : sum;
    }
  }
}

// q, out [queries, size], k and v [keys, size].
void attention(const float* q, const float* k, const float* v, int queries, int keys, int heads, int size, float* out) {
  const int d = size / heads;
  Floats scores(static_cast<std::size_t>(keys));
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < queries; ++i) {
      float most = -1e30F, total = 0;
      for (int j = 0; j < keys; ++j) {
        float sum = 0;
        for (int p = h * d; p < (h + 1) * d; ++p) sum += q[i * size + p] * k[j * size + p];
        scores[static_cast<std::size_t>(j)] = sum;
        most = std::fmax(most, sum);
      }
      for (float& score : scores) total += score = std::exp((score - most) / std::sqrt(static_cast<float>(d)));
      for (int p = h * d; p < (h + 1) * d; ++p) {
        float sum = 0;
        for (int j = 0; j < keys; ++j) sum += scores[static_cast<std::size_t>(j)] * v[j * size + p];
        out[i * size + p] = sum / total;
      }
    }
  }
}

void layer_norm(const float* x, const float* gamma, const float* beta, int rows, int size, float* out) {
  for (int i = 0; i < rows; ++i) {
    const float* row = x + i * size;
    float mean = 0, variance = 0;
    for (int j = 0; j < size; ++j) mean += row[j];
    mean /= static_cast<float>(size);
    for (int j = 0; j < size; ++j) variance += (row[j] - mean) * (row[j] - mean);
    const float inverse = 1 / std::sqrt(variance / static_cast<float>(size) + 1e-5F);
    for (int j = 0; j < size; ++j) out[i * size + j] = (row[j] - mean) * inverse * gamma[j] + beta[j];
  }
}

void add(const float* x, const float* y, int count, float* out) {
  for (int i = 0; i < count; ++i) out[i] = x[i] + y[i];
}

struct Step {
  std::string op;
  int numbers[4];
};

// Every step reads the same rows: what they hold does not change how many instructions there are.
void run_steps(const std::vector<Step>& steps, const Floats& x, Floats& out) {
  for (const auto& [op, at] : steps) {
    if (op == "linear") linear(x.data(), x.data(), x.data(), at[0], at[1], at[2], at[3] != 0, out.data());
    if (op == "attention") attention(x.data(), x.data(), x.data(), at[0], at[1], at[2], at[3], out.data());
    if (op == "layer_norm") layer_norm(x.data(), x.data(), x.data(), at[0], at[1], out.data());
    if (op == "add") add(x.data(), x.data(), at[0] * at[1], out.data());
  }
}

int run_plain(const std::string& path, int times) {
  std::ifstream file(path);
  std::vector<Step> steps;
  for (Step step; file >> step.op >> step.numbers[0] >> step.numbers[1] >> step.numbers[2] >> step.numbers[3];) {
    steps.push_back(step);
  }
  Floats x(1 << 23, 0.01F), out(1 << 23);
  for (int i = 0; i < times; ++i) run_steps(steps, x, out);
  return steps.empty() || !(out[0] == out[0]);
}

int run_model(const std::string& path, int times) {
  auto model = megaseg::embed::Model::open(path, 1);
  if (!model) return std::cerr << model.error().message << '\n', 1;
  megaseg::embed::Features features;
  for (int i = 0; i < static_cast<int>(model->modalities().size()); ++i) {
    Floats& rows = features.emplace_back(static_cast<std::size_t>(model->feature_size(i)));
    for (std::size_t j = 0; j < rows.size(); ++j) rows[j] = std::sin(static_cast<float>(j));
  }
  for (int i = 0; i < times; ++i) {
    if (!model->logits(features, 1)) return 1;  // of one shot: one window
  }
  return 0;
}

}  // namespace

int main(int, char** argv) {
  const std::string path = argv[1];
  return path.ends_with(".steps") ? run_plain(path, std::atoi(argv[2])) : run_model(path, std::atoi(argv[2]));
}

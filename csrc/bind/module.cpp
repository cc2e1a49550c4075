// The Python module megaseg._C: argument checks, GIL release, nothing else.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <tuple>

#include "bind/cuda.h"
#include "bind/ops.h"
#include "core/error.h"
#include "core/platform/target.h"
#include "core/run/plan.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using ByteArray = py::array_t<std::uint8_t, py::array::c_style>;

void raise_as(const char* name, const char* what) {
  const py::object type = py::module_::import("megaseg.errors").attr(name);
  // Paths need not be UTF-8.
  const auto text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(what, static_cast<py::ssize_t>(std::strlen(what)), "backslashreplace"));
  PyErr_SetObject(type.ptr(), text.ptr());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const megaseg::Unsupported& error) {
    raise_as("UnsupportedError", error.what());
  } catch (const megaseg::ResourceLimit& error) {
    raise_as("ResourceLimitError", error.what());
  } catch (const megaseg::BadFeatures& error) {
    raise_as("FeatureError", error.what());
  } catch (const megaseg::BadArtefact& error) {
    raise_as("CheckpointError", error.what());
  } catch (const std::bad_alloc&) {
    raise_as("ResourceLimitError", "out of memory: give memory_limit to have a scene model work in smaller chunks");
  }
}

// A plan with its arguments checked against the model.
class BoundPlan {
 public:
  BoundPlan(const std::string& path, const megaseg::Options& options) : plan(path, options) {}

  // Logits of each movie, given as one array per modality.
  std::vector<FloatArray> run(const std::vector<std::vector<FloatArray>>& movies) {
    std::vector<megaseg::Movie> checked;
    for (const std::vector<FloatArray>& movie : movies) checked.push_back(check(movie));
    return run_checked(checked);
  }

  // Logits of the windows [first, last) of each excerpt, given as (features, first, last, keeper or None).
  using Excerpt = std::tuple<std::vector<FloatArray>, int, int, std::shared_ptr<megaseg::Keeper>>;
  std::vector<FloatArray> run_windows(const std::vector<Excerpt>& excerpts) {
    std::vector<megaseg::Movie> checked;
    for (const auto& [features, first, last, kept] : excerpts) {
      checked.push_back(check(features, 0));
      checked.back().first = first;
      checked.back().last = last;
      checked.back().kept = kept.get();
    }
    return run_checked(checked);
  }

  // Logits [shots, classes] of a movie, and what each modality contributes to them [shots, modalities, classes].
  std::pair<FloatArray, FloatArray> explain(const std::vector<FloatArray>& features) {
    const megaseg::Movie movie = check(features);
    const py::ssize_t classes = plan.program().classes;
    const auto modalities = static_cast<py::ssize_t>(plan.program().modalities.size());
    FloatArray logits({py::ssize_t{movie.shots}, classes});
    FloatArray contributions({py::ssize_t{movie.shots}, modalities, classes});
    const megaseg::Output output{logits.mutable_data(), contributions.mutable_data()};
    {
      const py::gil_scoped_release release;
      plan.run({&movie, 1}, output);
    }
    return {logits, contributions};
  }

  // What metadata must agree with: task, max_length, classes, modalities, target.
  py::tuple signature() const {
    constexpr const char* kTasks[] = {"scene", "act", "synopsis"};
    const megaseg::Program& program = plan.program();
    py::list modalities;
    for (const auto& modality : program.modalities) {
      modalities.append(py::make_tuple(modality.name, modality.feature_size));
    }
    return py::make_tuple(kTasks[static_cast<int>(program.task)], program.max_length, program.classes, modalities,
                          program.target);
  }

  megaseg::Plan plan;

 private:
  std::vector<FloatArray> run_checked(const std::vector<megaseg::Movie>& movies) {
    py::ssize_t rows = 0;
    for (const megaseg::Movie& movie : movies) {
      if (movie.first < 0 || movie.last <= movie.first) throw py::value_error("excerpts: expected 0 <= first < last");
      rows += movie.last - movie.first;
    }
    if (rows > (py::ssize_t{1} << 30)) throw py::value_error("features: expected fewer shots in all");
    const py::ssize_t classes = plan.program().classes;
    const FloatArray all({rows, classes});
    float* out = const_cast<float*>(all.data());
    {
      const py::gil_scoped_release release;
      plan.run(movies, {out});
    }
    std::vector<FloatArray> logits;
    for (const megaseg::Movie& movie : movies) {
      const py::ssize_t own = movie.last - movie.first;
      logits.emplace_back(py::array::ShapeContainer{own, classes}, out, all);
      out += own * classes;
    }
    return logits;
  }

  megaseg::Movie check(const std::vector<FloatArray>& features, py::ssize_t fewest = 1) const {
    const auto& modalities = plan.program().modalities;
    if (features.size() != modalities.size()) throw py::value_error("features: one array per modality expected");
    const py::ssize_t shots = features[0].ndim() == 2 ? features[0].shape(0) : 0;
    megaseg::Movie movie{{}, static_cast<int>(shots)};
    for (std::size_t m = 0; m < features.size(); ++m) {
      const FloatArray& array = features[m];
      const bool fits = array.ndim() == 2 && array.shape(0) == shots && array.shape(1) == modalities[m].feature_size;
      if (!fits || shots < fewest || shots > plan.longest()) {
        throw py::value_error("features[" + modalities[m].name + "]: a (shots, feature_size) array expected");
      }
      movie.features.push_back(array.data());
    }
    return movie;
  }
};

megaseg::cpu::Type type_of(const std::string& name, const megaseg::cpu::KernelTable& kernels) {
  for (int i = 0; i < megaseg::cpu::kTypes; ++i) {
    const auto type = static_cast<megaseg::cpu::Type>(i);
    if (name == megaseg::name_of(type) && kernels.types[i]) return type;
  }
  throw megaseg::Unsupported("type " + name + ": target " + kernels.name + " has no such products");
}

std::size_t linear_packed_size(const std::string& type, int n, int k, const std::string& target) {
  const megaseg::cpu::KernelTable& kernels = megaseg::kernels(target);
  return kernels.linear_packed_size(type_of(type, kernels), n, k);
}

ByteArray linear_pack(const std::string& type, const FloatArray& weight, const std::optional<FloatArray>& bias,
                      const std::string& target) {
  const bool fits = weight.ndim() == 2 && (!bias || (bias->ndim() == 1 && bias->shape(0) == weight.shape(0)));
  if (!fits) throw py::value_error("linear_pack: weight (n, k), bias (n)");
  const megaseg::cpu::KernelTable& kernels = megaseg::kernels(target);
  const megaseg::cpu::Type of = type_of(type, kernels);
  const int n = static_cast<int>(weight.shape(0));
  const int k = static_cast<int>(weight.shape(1));
  const std::size_t size = kernels.linear_packed_size(of, n, k);
  const megaseg::Buffer aligned(size / sizeof(float));
  const float* from = weight.data();
  const float* shift = bias ? bias->data() : nullptr;
  {
    const py::gil_scoped_release release;
    kernels.linear_pack(of, from, shift, n, k, aligned.data());
  }
  return ByteArray(static_cast<py::ssize_t>(size), reinterpret_cast<const std::uint8_t*>(aligned.data()));
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  using namespace py::literals;
  py::register_local_exception_translator(translate);
  m.def("available_targets", megaseg::available_targets);
  m.def("target", [] { return std::string(megaseg::kernels().name); });
  m.def(
      "compute_types", [](const std::string& target) { return megaseg::compute_types(megaseg::kernels(target)); },
      "target"_a = "");
  m.def("linear_packed_size", linear_packed_size, "type"_a, "n"_a, "k"_a, py::kw_only(), "target"_a = "");
  m.def("linear_pack", linear_pack, "type"_a, "weight"_a, "bias"_a = py::none(), py::kw_only(), "target"_a = "");
  m.def("seal_artefact", megaseg::seal_artefact, "path"_a);
  py::class_<megaseg::Keeper, std::shared_ptr<megaseg::Keeper>>(m, "Keeper")
      .def_property_readonly("shots", &megaseg::Keeper::shots)
      .def_property_readonly("nbytes", &megaseg::Keeper::bytes);
  py::class_<BoundPlan>(m, "Plan")
      .def(py::init([](const std::string& path, int num_threads, std::size_t memory_limit) {
             return std::make_unique<BoundPlan>(path, megaseg::Options{num_threads, memory_limit});
           }),
           "path"_a, py::kw_only(), "num_threads"_a = 0, "memory_limit"_a = 0)
      .def("run", &BoundPlan::run, "movies"_a)
      .def("run_windows", &BoundPlan::run_windows, "excerpts"_a)
      .def(
          "keep", [](const BoundPlan& self) { return std::shared_ptr<megaseg::Keeper>(self.plan.keep()); },
          py::keep_alive<0, 1>())
      .def("explain", &BoundPlan::explain, "features"_a)
      .def_property_readonly("metadata",
                             [](const BoundPlan& self) { return py::bytes(self.plan.artefact().metadata()); })
      .def_property_readonly("signature", &BoundPlan::signature)
      .def_property_readonly("num_threads", [](const BoundPlan& self) { return self.plan.num_threads(); })
      .def_property_readonly("weight_bytes", [](const BoundPlan& self) { return self.plan.weight_bytes(); })
      .def_property_readonly("workspace_bytes", [](const BoundPlan& self) { return self.plan.workspace_bytes(); });
  bind_ops(m);
  bind_cuda(m);
}

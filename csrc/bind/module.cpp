// The Python module megaseg._C: argument checks, GIL release, nothing else.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/ops.h"
#include "core/target.h"
#include "megaseg/plan.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;

void raise_as(const char* name, const char* what) {
  const py::object type = py::module_::import("megaseg.errors").attr(name);
  PyErr_SetString(type.ptr(), what);
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const megaseg::Unsupported& error) {
    raise_as("UnsupportedError", error.what());
  } catch (const megaseg::ResourceLimit& error) {
    raise_as("ResourceLimitError", error.what());
  } catch (const std::bad_alloc&) {
    raise_as("ResourceLimitError", "out of memory: give memory_limit to have a scene model work in smaller chunks");
  }
}

megaseg::Config config_of(const py::object& config) {
  megaseg::Config out{};
  out.windowed = config.attr("task").cast<std::string>() == "scene";
  for (const py::handle modality : config.attr("modalities")) {
    out.modalities.push_back({modality.attr("name").cast<std::string>(), modality.attr("feature_size").cast<int>()});
  }
  out.max_length = config.attr("max_length").cast<int>();
  out.num_bottleneck = config.attr("num_bottleneck").cast<int>();
  out.hidden_size = config.attr("hidden_size").cast<int>();
  out.ffn_size = config.attr("ffn_size").cast<int>();
  out.num_heads = config.attr("num_heads").cast<int>();
  out.num_unimodal_layers = config.attr("num_unimodal_layers").cast<int>();
  out.num_fusion_layers = config.attr("num_fusion_layers").cast<int>();
  out.num_classes = config.attr("num_classes").cast<int>();
  out.layer_norm_eps = config.attr("layer_norm_eps").cast<float>();
  return out;
}

// Reads mapping[name] as float32, converting where the file stores another type.
megaseg::TensorSource source_of(const py::object& tensors) {
  return [tensors](const std::string& name) {
    auto array = std::make_shared<py::array_t<float, py::array::c_style | py::array::forcecast>>(tensors[name.c_str()]);
    return megaseg::Tensor{array->data(), static_cast<std::size_t>(array->size()), array};
  };
}

// A plan with the sizes that its arguments are checked against.
struct BoundPlan {
  BoundPlan(const py::object& config, const py::object& tensors, const megaseg::Options& options)
      : sizes(config_of(config)), plan(sizes, source_of(tensors), options) {}

  FloatArray run(const std::vector<FloatArray>& features) {
    if (features.size() != sizes.modalities.size()) throw py::value_error("features: one array per modality expected");
    const py::ssize_t shots = features[0].ndim() == 2 ? features[0].shape(0) : 0;
    const py::ssize_t longest = sizes.windowed ? (py::ssize_t{1} << 30) : sizes.max_length;
    std::vector<const float*> pointers;
    for (std::size_t m = 0; m < features.size(); ++m) {
      const FloatArray& array = features[m];
      const bool fits =
          array.ndim() == 2 && array.shape(0) == shots && array.shape(1) == sizes.modalities[m].feature_size;
      if (!fits || shots < 1 || shots > longest) {
        throw py::value_error("features[" + sizes.modalities[m].name + "]: a (shots, feature_size) array expected");
      }
      pointers.push_back(array.data());
    }
    FloatArray logits({shots, static_cast<py::ssize_t>(sizes.num_classes)});
    float* out = logits.mutable_data();
    const py::gil_scoped_release release;
    plan.run(pointers, static_cast<int>(shots), out);
    return logits;
  }

  megaseg::Config sizes;
  megaseg::Plan plan;
};

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::register_local_exception_translator(translate);
  m.def("available_targets", megaseg::available_targets);
  m.def("target", [] { return std::string(megaseg::kernels().name); });
  m.attr("PASSES") = py::dict(py::arg("project_once") = megaseg::passes::project_once,
                              py::arg("window_tables") = megaseg::passes::window_tables,
                              py::arg("centre_queries") = megaseg::passes::centre_queries,
                              py::arg("folded_query") = megaseg::passes::folded_query,
                              py::arg("latent_queries") = megaseg::passes::latent_queries);
  py::class_<BoundPlan>(m, "Plan")
      .def(py::init([](const py::object& config, const py::object& tensors, int num_threads, std::size_t memory_limit,
                       unsigned passes, const std::string& target) {
             return std::make_unique<BoundPlan>(config, tensors,
                                                megaseg::Options{num_threads, memory_limit, passes, target});
           }),
           py::arg("config"), py::arg("tensors"), py::kw_only(), py::arg("num_threads") = 0,
           py::arg("memory_limit") = 0, py::arg("passes") = megaseg::passes::all, py::arg("target") = "")
      .def("run", &BoundPlan::run, py::arg("features"))
      .def_property_readonly("target", [](const BoundPlan& self) { return std::string(self.plan.target()); })
      .def_property_readonly("num_threads", [](const BoundPlan& self) { return self.plan.num_threads(); })
      .def_property_readonly("weight_bytes", [](const BoundPlan& self) { return self.plan.weight_bytes(); })
      .def_property_readonly("workspace_bytes", [](const BoundPlan& self) { return self.plan.workspace_bytes(); });
  bind_ops(m);
}

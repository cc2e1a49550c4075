#include "bind/plan.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/platform/target.h"
#include "core/run/plan.h"

namespace py = pybind11;

namespace {

using megaseg::Destination;
using megaseg::Input;
using megaseg::Movie;
using megaseg::Output;
using megaseg::Profile;
using megaseg::Program;
using megaseg::RowCache;
using FloatArray = py::array_t<float, py::array::c_style>;
using Arrays = std::vector<py::array>;  // one per input
using Excerpt = std::tuple<Arrays, int, int, std::shared_ptr<RowCache>>;

void require(bool fits, const std::string& what) {
  if (!fits) throw py::value_error(what);
}

template <typename T>
py::array contiguous(const py::array& array, const Input& input) {
  if (!py::isinstance<py::array_t<T>>(array)) {
    throw py::type_error("features[" + input.name + "]: expected " + megaseg::name_of(input.type) + ", got " +
                         py::str(array.dtype()).cast<std::string>());
  }
  return py::array_t<T, py::array::c_style>::ensure(array);
}

Arrays contiguous(const Program& program, const Arrays& features) {
  require(features.size() == program.inputs.size(), "features: one array per modality expected");
  Arrays arrays;
  for (std::size_t i = 0; i < features.size(); ++i) {
    const Input& input = program.inputs[i];
    const bool ids = input.type == megaseg::cpu::Type::int32;
    arrays.push_back(ids ? contiguous<std::int32_t>(features[i], input) : contiguous<float>(features[i], input));
  }
  return arrays;
}

// A plan with its arguments checked against the model.
class BoundPlan {
 public:
  BoundPlan(const std::string& path, int num_threads, std::size_t memory_limit)
      : plan(path, {num_threads, memory_limit}) {}

  // For each excerpt the wanted outputs in their order: rows (., width), or of "NAME.parts" (., parts, width).
  std::vector<py::tuple> run(const std::vector<Excerpt>& excerpts, const std::vector<std::string>& outputs,
                             Profile* profile = nullptr) {
    std::vector<Arrays> arrays;
    std::vector<Movie> movies;
    for (const auto& [features, first, last, cache] : excerpts) {
      arrays.push_back(contiguous(plan.program(), features));
      movies.push_back(movie_of(arrays.back(), first, last, cache.get()));
    }
    std::vector<FloatArray> all;
    std::vector<Destination> destinations;
    for (const std::string& name : outputs) {
      destinations.push_back(wanted(name));
      all.push_back(room_for(destinations.back(), movies));
      destinations.back().data = all.back().mutable_data();
    }
    {
      const py::gil_scoped_release release;
      plan.run(movies, destinations, profile);
    }
    return split(movies, destinations, all);
  }

  // A run's seconds, and of every step what it is and what it did.
  py::tuple profile(const std::vector<Excerpt>& excerpts, const std::vector<std::string>& outputs, bool cpu_time) {
    using namespace py::literals;
    Profile profile(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC);
    run(excerpts, outputs, &profile);
    const Program& program = plan.program();
    py::list steps;
    for (std::size_t i = 0; i < profile.steps.size(); ++i) {
      const megaseg::Step& step = program.steps[i];
      const auto& [calls, seconds, cost] = profile.steps[i];
      const megaseg::Value& out = program.value(step.out);
      const megaseg::Value& in = step.inputs.empty() ? out : program.value(step.inputs[0]);
      steps.append(py::dict("op"_a = megaseg::kOpNames[static_cast<int>(step.op)],
                            "product"_a = megaseg::name_of(product_of(program, step)),
                            "in_type"_a = megaseg::name_of(in.type), "in_width"_a = in.width,
                            "out_type"_a = megaseg::name_of(out.type), "out_width"_a = out.width, "calls"_a = calls,
                            "seconds"_a = seconds, "rows"_a = cost.rows, "operations"_a = cost.operations,
                            "read"_a = cost.read, "written"_a = cost.written, "weights"_a = cost.weights));
    }
    return py::make_tuple(profile.seconds, steps);
  }

  // Operations a second by type of products; and of areas of so many bytes a thread the bytes a second that are read,
  // and that are copied.
  py::tuple ceilings() {
    megaseg::Ceilings found;
    {
      const py::gil_scoped_release release;
      found = plan.ceilings();
    }
    py::dict products;
    for (const auto& [type, rate] : found.products) products[megaseg::name_of(type)] = rate;
    py::list memory;
    for (const auto& [bytes, read, copied] : found.memory) memory.append(py::make_tuple(bytes, read, copied));
    return py::make_tuple(products, memory);
  }

  // What metadata must agree with: (kind, length, step) of sequences, inputs, outputs, properties and target.
  py::tuple signature() const {
    const Program& program = plan.program();
    const auto& [kind, length, step] = program.sequences;
    py::list inputs;
    for (const Input& input : program.inputs) {
      inputs.append(py::make_tuple(input.name, input.feature_size, megaseg::name_of(input.type), input.source));
    }
    py::list outputs;
    for (const Output& output : program.outputs) {
      outputs.append(py::make_tuple(output.name, program.value(output.value).width, output.parts.size()));
    }
    py::dict properties;
    for (const auto& [name, text] : program.properties) properties[py::str(name)] = text;
    return py::make_tuple(py::make_tuple(megaseg::name_of(kind), length, step), inputs, outputs, properties,
                          program.target);
  }

  megaseg::Plan plan;

 private:
  // How many shots there are in all, the plan checks: it knows what caches have.
  Movie movie_of(const Arrays& features, int first, int last, RowCache* cache) const {
    const auto& inputs = plan.program().inputs;
    const py::ssize_t shots = features[0].ndim() == 2 ? features[0].shape(0) : 0;
    Movie movie{{}, static_cast<int>(shots), first, last, cache};
    for (std::size_t i = 0; i < features.size(); ++i) {
      const py::array& array = features[i];
      const std::string name = "features[" + inputs[i].name + "]: ";
      require(array.ndim() == 2 && array.shape(1) == inputs[i].feature_size,
              name + "a (" + (inputs[i].source ? "rows" : "shots") + ", feature_size) array expected");
      const py::ssize_t rows = array.shape(0);
      if (inputs[i].source) {
        if (rows < 1 || rows > megaseg::kMostSourceRows) {
          throw megaseg::BadFeatures(name + "from 1 to " + std::to_string(megaseg::kMostSourceRows) +
                                     " rows of a sequence expected, got " + std::to_string(rows));
        }
        if (movie.source_rows == 0) movie.source_rows = static_cast<int>(rows);
        require(rows == movie.source_rows, name + "as many rows as the other inputs of the second stream expected");
      } else {
        require(rows == shots && shots <= plan.longest(), name + "a (shots, feature_size) array expected");
      }
      movie.features.push_back(array.data());
    }
    require(0 <= first && first < last, "excerpts: expected 0 <= first < last");
    return movie;
  }

  Destination wanted(const std::string& name) const {
    constexpr std::string_view kParts = ".parts";
    const bool parts = name.ends_with(kParts);
    const Output* output = plan.program().output(parts ? name.substr(0, name.size() - kParts.size()) : name);
    if (output && !(parts && output->parts.empty())) return {output, parts, nullptr};
    std::string offered;
    for (const Output& own : plan.program().outputs) {
      offered += (offered.empty() ? "" : ", ") + own.name + (own.parts.empty() ? "" : ", " + own.name + ".parts");
    }
    throw py::value_error("outputs: expected some of " + offered + ", got " + name);
  }

  std::vector<py::ssize_t> shape_of(const Destination& destination, py::ssize_t rows) const {
    const py::ssize_t width = plan.program().value(destination.output->value).width;
    if (!destination.parts) return {rows, width};
    return {rows, static_cast<py::ssize_t>(destination.output->parts.size()), width};
  }

  FloatArray room_for(const Destination& destination, const std::vector<Movie>& movies) const {
    py::ssize_t rows = 0;
    for (const Movie& movie : movies) rows += output_rows(plan.program(), *destination.output, movie);
    require(rows <= (py::ssize_t{1} << 30), "features: expected fewer shots in all");
    return FloatArray(shape_of(destination, rows));
  }

  // Each movie's share of the arrays, which stay one piece of memory each.
  std::vector<py::tuple> split(const std::vector<Movie>& movies, const std::vector<Destination>& destinations,
                               const std::vector<FloatArray>& all) const {
    std::vector<py::tuple> results;
    std::vector<const float*> next;
    for (const FloatArray& array : all) next.push_back(array.data());
    for (const Movie& movie : movies) {
      py::tuple own(all.size());
      for (std::size_t i = 0; i < all.size(); ++i) {
        const int rows = output_rows(plan.program(), *destinations[i].output, movie);
        const FloatArray share(shape_of(destinations[i], rows), next[i], all[i]);
        next[i] += share.size();
        own[i] = share;
      }
      results.push_back(own);
    }
    return results;
  }
};

}  // namespace

void bind_plan(py::module_& m) {
  using namespace py::literals;
  m.def("ops", [] { return std::vector<std::string>(std::begin(megaseg::kOpNames), std::end(megaseg::kOpNames)); });
  py::class_<RowCache, std::shared_ptr<RowCache>>(m, "RowCache")
      .def_property_readonly("shots", &RowCache::shots)
      .def_property_readonly("nbytes", &RowCache::bytes);
  py::class_<BoundPlan>(m, "Plan")
      .def(py::init<const std::string&, int, std::size_t>(), "path"_a, py::kw_only(), "num_threads"_a = 0,
           "memory_limit"_a = 0)
      .def(
          "run",
          [](BoundPlan& self, const std::vector<Excerpt>& excerpts, const std::vector<std::string>& outputs) {
            return self.run(excerpts, outputs);
          },
          "excerpts"_a, "outputs"_a)
      .def("profile", &BoundPlan::profile, "excerpts"_a, "outputs"_a, py::kw_only(), "cpu_time"_a = false)
      .def("ceilings", &BoundPlan::ceilings)
      .def(
          "new_cache", [](const BoundPlan& self) { return std::shared_ptr<RowCache>(self.plan.new_cache()); },
          py::keep_alive<0, 1>())
      .def_property_readonly("metadata",
                             [](const BoundPlan& self) { return py::bytes(self.plan.artefact().metadata()); })
      .def_property_readonly("signature", &BoundPlan::signature)
      .def_property_readonly("num_threads", [](const BoundPlan& self) { return self.plan.num_threads(); })
      .def_property_readonly("weight_bytes", [](const BoundPlan& self) { return self.plan.weight_bytes(); })
      .def_property_readonly("workspace_bytes", [](const BoundPlan& self) { return self.plan.workspace_bytes(); });
}

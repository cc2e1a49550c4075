#include "emulation.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace megaseg::cuda::emulation {

std::int64_t first_block = 0;
int launches = 0;

namespace {

constexpr std::size_t kStack = 256 * 1024;
constexpr unsigned char kUnknown = 0xff;  // bytes of a NaN in every type

struct Copy {
  void* to;
  const void* from;
  bool valid;
};

// A place where a number of threads meet, again and again.
struct Meeting {
  int arrived = 0;
  std::uint64_t generation = 0;
  const char* instruction = "";
  void* operands[kLanes] = {};
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStack]};
  const Meeting* waits = nullptr;  // until its generation passes
  std::uint64_t generation = 0;
  bool done = false;
  std::vector<Copy> open;                // copies of no group yet
  std::deque<std::vector<Copy>> groups;  // under way
  std::vector<Copy> waited;              // there, for this thread

  bool ready() const { return !done && (!waits || waits->generation != generation); }
};

std::mt19937 random_bits;  // NOLINT: the same schedule every time
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Meeting> warps;
Meeting everyone;
std::vector<unsigned char> memory;
unsigned char* aligned = nullptr;
int shared_bytes = 0;
int threads_of_block = 0;
int current = 0;
std::int64_t block_now = 0;
const std::function<void()>* body = nullptr;
ucontext_t outside;

[[noreturn]] void fail(const char* what, const char* detail = "") {
  std::fprintf(stderr, "block %lld, thread %d: %s %s\n", static_cast<long long>(block_now), current, what, detail);
  std::abort();
}

unsigned below(std::size_t count) { return static_cast<unsigned>(random_bits() % count); }

// A lane of the same warp that can go on, or of another; -1 if all threads are done.
int next(bool stay) {
  const int count = static_cast<int>(warps.size());
  const int first = stay ? current / kLanes : static_cast<int>(below(warps.size()));
  bool done = true;
  for (int w = 0; w < count; ++w) {
    const int warp = (first + w) % count;
    for (int lane = 0; lane < kLanes; ++lane) {
      const Fiber& fiber = *fibers[static_cast<std::size_t>(warp * kLanes + lane)];
      if (fiber.ready()) return warp * kLanes + lane;
      done = done && fiber.done;
    }
  }
  if (!done) fail("deadlock: no thread can go on");
  return -1;
}

void switch_to(int thread) {
  Fiber& from = *fibers[static_cast<std::size_t>(current)];
  current = thread;
  swapcontext(&from.context, thread < 0 ? &outside : &fibers[static_cast<std::size_t>(thread)]->context);
}

void start() {
  (*body)();
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  if (!self.open.empty()) fail("a thread ends with copies of no group");
  for (const auto& group : self.groups) {
    if (!group.empty()) fail("a thread ends before its copies");
  }
  self.done = true;
  switch_to(next(true));
}

void wait_for(Meeting& meeting, int count, bool stay) {
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  if (++meeting.arrived == count) {
    meeting.arrived = 0;
    ++meeting.generation;
    if (stay && below(16) != 0) return;
  } else {
    self.waits = &meeting;
    self.generation = meeting.generation;
  }
  switch_to(next(stay && self.waits));
  self.waits = nullptr;
}

void check_shared(const void* pointer, const char* instruction, std::size_t size = sizeof(Chunk)) {
  const auto* byte = static_cast<const unsigned char*>(pointer);
  if (byte < aligned || byte + size > aligned + shared_bytes) fail("outside of shared memory:", instruction);
  const std::size_t alignment = size < sizeof(Chunk) ? size : sizeof(Chunk);
  if (static_cast<std::size_t>(byte - aligned) % alignment != 0) fail("not aligned:", instruction);
}

void check_source(const void* pointer, const char* instruction) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % sizeof(Chunk) != 0) fail("not aligned: source of", instruction);
}

// Matrix m of ldmatrix, whose rows lanes 8 m to 8 m + 7 name.
void read(void* const* lanes, bool transposed) {
  for (int m = 0; m < 4; ++m) {
    unsigned banks = 0;
    std::uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* from = static_cast<const Ldmatrix*>(lanes[8 * m + row])->row;
      check_shared(from, "ldmatrix");
      banks |= 1U << (static_cast<const unsigned char*>(from) - aligned) / 16 % 8;
      std::memcpy(matrix[row], from, sizeof(matrix[row]));
    }
    if (banks != 0xff) fail("bank conflict: ldmatrix");
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint32_t word = 0;
      for (int i = 0; i < 2; ++i) {
        const int along = lane % 4 * 2 + i;
        const std::uint32_t element = transposed ? matrix[along][lane / 4] : matrix[lane / 4][along];
        word |= element << 16 * i;
      }
      static_cast<const Ldmatrix*>(lanes[lane])->words[m] = word;
    }
  }
}

}  // namespace

void run(std::int64_t blocks, int threads, int shared, const std::function<void()>& kernel) {
  ++launches;
  body = &kernel;
  threads_of_block = threads;
  while (static_cast<int>(fibers.size()) < threads) fibers.push_back(std::make_unique<Fiber>());
  warps.assign(static_cast<std::size_t>(threads / kLanes), {});
  for (block_now = first_block; block_now < blocks; ++block_now) {
    // Exactly as large as asked for, so that AddressSanitizer sees what passes its end.
    std::vector<unsigned char>(static_cast<std::size_t>(shared) + 128, kUnknown).swap(memory);
    aligned = memory.data() + (128 - reinterpret_cast<std::uintptr_t>(memory.data()) % 128) % 128;
    shared_bytes = shared;
    for (int i = 0; i < threads; ++i) {
      Fiber& fiber = *fibers[static_cast<std::size_t>(i)];
      fiber.waits = nullptr;
      fiber.done = false;
      fiber.groups.clear();
      fiber.waited.clear();
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStack;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, start, 0);
    }
    current = next(false);
    swapcontext(&outside, &fibers[static_cast<std::size_t>(current)]->context);
  }
}

int block() { return static_cast<int>(block_now); }
int thread() { return current; }
unsigned char* shared() { return aligned; }

void meet(const char* instruction, void* operands, void (*work)(void* const* lanes)) {
  Meeting& warp = warps[static_cast<std::size_t>(current / kLanes)];
  if (warp.arrived == 0) warp.instruction = instruction;
  if (warp.instruction != instruction) fail("lanes of a warp disagree:", instruction);
  warp.operands[current % kLanes] = operands;
  if (warp.arrived == kLanes - 1) work(warp.operands);
  wait_for(warp, kLanes, true);
}

void meet_all() {
  land();
  wait_for(everyone, threads_of_block, false);
}

void copy(void* to, const void* from, bool valid) {
  check_shared(to, "cp.async");
  check_source(from, "cp.async");
  std::memset(to, kUnknown, sizeof(Chunk));
  fibers[static_cast<std::size_t>(current)]->open.push_back({to, from, valid});
}

void commit() {
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

void wait(std::size_t pending) {
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  for (; self.groups.size() > pending; self.groups.pop_front()) {
    self.waited.insert(self.waited.end(), self.groups.front().begin(), self.groups.front().end());
  }
}

void land() {
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  for (const Copy& done : self.waited) {
    if (done.valid) {
      std::memcpy(done.to, done.from, sizeof(Chunk));
    } else {
      std::memset(done.to, 0, sizeof(Chunk));
    }
  }
  self.waited.clear();
}

std::uint16_t round(Type type, float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7fff);
  if (type == Type::bfloat16) return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  const float size = std::fabs(value);
  if (size >= 65520) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (size < std::ldexp(1.0F, -14)) return static_cast<std::uint16_t>(sign | std::lrint(std::ldexp(size, 24)));
  const int exponent = std::ilogb(size);
  const long mantissa = std::lrint(std::ldexp(size, 10 - exponent)) - 1024;
  return static_cast<std::uint16_t>(sign | (((exponent + 15) << 10) + mantissa));
}

float widen(Type type, std::uint16_t bits) {
  if (type == Type::bfloat16) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
  }
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const float sign = bits & 0x8000 ? -1.0F : 1.0F;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": where element i of a lane stands.
void mma(void* const* lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& mine = *static_cast<const Mma*>(lanes[lane]);
    const int group = lane >> 2, in_group = lane % 4;
    const auto element = [&](const std::uint32_t* words, int i) {
      return widen(mine.type, static_cast<std::uint16_t>(words[i / 2] >> 16 * (i % 2)));
    };
    for (int i = 0; i < 8; ++i) {
      const int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? group : group + 8;
      const int column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      a[row][column] = element(mine.a, i);
    }
    for (int i = 0; i < 4; ++i) {
      const int row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      b[row][group] = element(mine.b, i);
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& mine = *static_cast<const Mma*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8;
      const int column = lane % 4 * 2 + (i & 1);
      double sum = mine.d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      mine.d[i] = static_cast<float>(sum);
    }
  }
}

void ldmatrix(void* const* lanes) { read(lanes, false); }
void ldmatrix_transposed(void* const* lanes) { read(lanes, true); }

}  // namespace megaseg::cuda::emulation

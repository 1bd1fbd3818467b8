// SPDX-License-Identifier: MIT
#include "block.h"

#include "fiber.h"
#include "memory.h"

#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace emulated_gpu {
namespace {

constexpr unsigned LANES = 32, MOST_THREADS = 1024, ALL_LANES = 0xffffffffU;
constexpr std::size_t USUAL_SHARED_BYTES = 48 << 10, ALIGNMENT = 8;
constexpr std::size_t MOST_RETIRED = 2048;    // ThreadSanitizer knows 8128 threads

/// Where a thread is when it has no turn.
enum Place { READY, AT_BLOCK, AT_WARP, AT_SHUFFLE, ENDED, NUM_PLACES };
constexpr const char *NAMES[NUM_PLACES] = {"ready", "at a barrier of the block",
                                           "at a barrier of a warp", "at a shuffle", "ended"};

struct Thread {
  Fiber fiber;
  unsigned number;    // in the block
  Place place;
  uint64_t bits;    // given to a shuffle, then taken from it
  int distance;
};

/// What a block has for itself; addresses of members are the events of ThreadSanitizer.
struct Block {
  explicit Block(std::size_t shared_bytes)
      : memory(shared_bytes)
      , shared_bytes(shared_bytes)
  {
  }

  void clear() const { std::memset(memory.begin(), 0xff, memory.size()); }    // NaN in both types

  double *begin() const
  {
    return reinterpret_cast<double *>(memory.end() -
                                      (shared_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  }

  GuardedMemory memory;
  std::size_t shared_bytes;
  char barrier = 0, warps[MOST_THREADS / LANES] = {};
};

struct Gpu {
  std::mutex one_launch;
  std::mt19937_64 random;
  bool in_order = true;
  int most_shared_bytes = 227 << 10;
  cudaError_t refusal = cudaSuccess;                // what every launch ends with
  std::map<const void *, std::size_t> asked_for;    // bytes that a kernel may have
  uint64_t num_blocks = 0;

  const std::function<void()> *body = nullptr;
  std::vector<std::unique_ptr<Thread>> threads;    // of every block
  std::unique_ptr<Block> block;
  std::vector<std::unique_ptr<Block>> ended;       // of this launch, for ThreadSanitizer
  std::vector<std::unique_ptr<Thread>> retired;    // of those blocks
  std::deque<Thread *> ready;
  unsigned counts[MOST_THREADS / LANES][NUM_PLACES], whole_block[NUM_PLACES];
  Thread *running = nullptr;
  const char *failure = nullptr;    // of a thread that was broken off
  char begin = 0, end = 0;          // of a launch
  struct sigaction others;
} gpu;

[[noreturn]] void fail(const std::string &what)
{
  std::ostringstream text;
  text << "emulated GPU, block " << blockIdx.x << ": " << what << "; of its " << blockDim.x
       << " threads";
  const char *separator = " ";
  for (int place = AT_BLOCK; place < NUM_PLACES; ++place)
    if (gpu.whole_block[place] > 0) {
      text << separator << gpu.whole_block[place] << " " << NAMES[place];
      separator = ", ";
    }
  for (const auto &thread : gpu.threads) thread->fiber.forget();
  throw std::runtime_error(text.str());
}

void count(const Thread &thread, Place place, int change)
{
  gpu.counts[thread.number / LANES][place] += change;
  gpu.whole_block[place] += change;
}

/// Gives the turn back until the others have come.
void wait_at(Place place)
{
  Thread &thread = *gpu.running;
  thread.place = place;
  thread.fiber.leave();
}

/// The same at a barrier: what others wrote before is seen after it.
void wait_at(Place place, char *event)
{
  Tsan::before(event);
  wait_at(place);
  Tsan::after(event);
}

/// What every fiber does: one block after the other.
void run_bodies()
{
  for (;;) {
    Tsan::after(&gpu.begin);
    (*gpu.body)();
    Tsan::before(&gpu.end);
    wait_at(ENDED);
  }
}

void exchange_bits(unsigned first)
{
  const int distance = gpu.threads[first]->distance;
  uint64_t given[LANES];
  for (unsigned lane = 0; lane < LANES; ++lane) {
    if (gpu.threads[first + lane]->distance != distance)
      fail("lanes of one warp shuffle over different distances");
    given[lane] = gpu.threads[first + lane]->bits;
  }
  for (unsigned lane = 0; lane < LANES; ++lane)
    gpu.threads[first + lane]->bits = given[lane ^ distance];
}

void release(unsigned first, unsigned number)
{
  for (unsigned n = first; n < first + number; ++n) {
    Thread &thread = *gpu.threads[n];
    count(thread, thread.place, -1);
    gpu.ready.push_back(&thread);
  }
}

/// A thread has come to where it waits, or to its end.
void arrive(const Thread &thread)
{
  count(thread, thread.place, 1);
  const unsigned warp = thread.number / LANES;
  if (thread.place == AT_BLOCK && gpu.whole_block[AT_BLOCK] == blockDim.x)
    release(0, blockDim.x);
  if ((thread.place == AT_WARP || thread.place == AT_SHUFFLE) &&
      gpu.counts[warp][thread.place] == LANES) {
    if (thread.place == AT_SHUFFLE)
      exchange_bits(warp * LANES);
    release(warp * LANES, LANES);
  }
}

Thread *take_ready()
{
  if (!gpu.in_order)
    std::swap(gpu.ready.front(), gpu.ready[gpu.random() % gpu.ready.size()]);
  Thread *thread = gpu.ready.front();
  gpu.ready.pop_front();
  return thread;
}

void run_block()
{
  std::memset(gpu.counts, 0, sizeof(gpu.counts));
  std::memset(gpu.whole_block, 0, sizeof(gpu.whole_block));
  gpu.ready.clear();
  for (unsigned n = 0; n < blockDim.x; ++n) {
    if (Tsan::ON && gpu.retired.size() < MOST_RETIRED)
      gpu.retired.push_back(std::exchange(gpu.threads[n], std::make_unique<Thread>()));
    gpu.threads[n]->number = n;
    gpu.ready.push_back(gpu.threads[n].get());
  }
  Tsan::before(&gpu.begin);
  while (!gpu.ready.empty()) {
    gpu.running = take_ready();
    threadIdx.x = gpu.running->number;
    gpu.running->fiber.resume(run_bodies);
    if (gpu.failure)
      fail(gpu.failure);
    arrive(*gpu.running);
  }
  if (gpu.whole_block[ENDED] != blockDim.x)
    fail("threads wait for others that do not come");
  ++gpu.num_blocks;
}

/// Ends the thread whose turn it is, and with it the launch; called inside.
[[noreturn]] void break_off(const char *failure)
{
  gpu.failure = failure;
  gpu.running->fiber.break_off();
}

/// Breaks a thread off that touches the page behind the memory of its block; anything else is for
/// who else handles this signal.
void on_fault(int /*signal*/, siginfo_t *information, void * /*context*/)
{
  if (!gpu.running || !gpu.block->memory.is_behind(information->si_addr)) {
    sigaction(SIGSEGV, &gpu.others, nullptr);
    return;
  }
  break_off("a thread touched what is behind the memory of its block");
}

/// Handles faults as long as it lives.
struct Faults {
  Faults()
  {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;    // a thread that is broken off never returns
    sigaction(SIGSEGV, &action, &gpu.others);
  }

  ~Faults()
  {
    gpu.running = nullptr;
    gpu.failure = nullptr;
    sigaction(SIGSEGV, &gpu.others, nullptr);
  }
};

/// To ThreadSanitizer, blocks run at the same time: none has an address or a thread of another, as
/// far as there are threads enough. All is ended when this is.
struct Ended {
  ~Ended()
  {
    Tsan::after(&gpu.end);
    gpu.ended.clear();
    gpu.retired.clear();
  }
};

bool can_launch(const void *kernel, dim3 grid, dim3 block, std::size_t shared_bytes)
{
  const auto asked = gpu.asked_for.find(kernel);
  const std::size_t most = asked == gpu.asked_for.end() ? USUAL_SHARED_BYTES : asked->second;
  return grid.x > 0 && grid.x < 1U << 31 && block.x > 0 && block.x <= MOST_THREADS && grid.y == 1 &&
         grid.z == 1 && block.y == 1 && block.z == 1 && shared_bytes <= most;
}

}    // namespace

cudaError_t launch(const void *kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                   const std::function<void()> &body)
{
  const std::lock_guard<std::mutex> lock(gpu.one_launch);
  if (gpu.refusal != cudaSuccess)
    return gpu.refusal;
  if (!can_launch(kernel, grid, block, shared_bytes))
    return cudaErrorInvalidConfiguration;
  if (block.x % LANES != 0)
    throw std::runtime_error("emulated GPU: expected whole warps");
  gridDim = grid;
  blockDim = block;
  gpu.body = &body;
  while (gpu.threads.size() < block.x) gpu.threads.push_back(std::make_unique<Thread>());
  const Faults faults;
  const Ended ended;
  for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
    if (Tsan::ON && gpu.block)
      gpu.ended.push_back(std::move(gpu.block));
    if (!gpu.block || gpu.block->shared_bytes != shared_bytes)
      gpu.block = std::make_unique<Block>(shared_bytes);
    gpu.block->clear();
    run_block();
  }
  return cudaSuccess;
}

void meet_block()
{
  wait_at(AT_BLOCK, &gpu.block->barrier);
}

void meet_warp(unsigned lanes)
{
  if (lanes != ALL_LANES)
    break_off("a barrier of a part of a warp: not emulated");
  wait_at(AT_WARP, &gpu.block->warps[gpu.running->number / LANES]);
}

uint64_t swap_with_lane(unsigned lanes, uint64_t bits, int distance)
{
  if (lanes != ALL_LANES)
    break_off("a shuffle of a part of a warp: not emulated");
  if (distance < 0 || distance >= static_cast<int>(LANES))
    break_off("a shuffle beyond the warp");
  Thread &thread = *gpu.running;
  thread.bits = bits;
  thread.distance = distance;
  wait_at(AT_SHUFFLE);    // no barrier: it says nothing of memory
  return thread.bits;
}

double *block_memory()
{
  return gpu.block->begin();
}

}    // namespace emulated_gpu

dim3 threadIdx, blockIdx, blockDim, gridDim;

// CUDA's runtime, as far as this project calls it.

cudaError_t cudaGetDevice(int *device)
{
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int /*device*/)
{
  *value = attribute == cudaDevAttrMultiProcessorCount ? 1 : emulated_gpu::gpu.most_shared_bytes;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute /*attribute*/, int value)
{
  if (value < 0 || value > emulated_gpu::gpu.most_shared_bytes)
    return cudaErrorInvalidValue;
  emulated_gpu::gpu.asked_for[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t status)
{
  return status == cudaSuccess ? "no error" : "error of the emulated GPU";
}

void emulated_gpu_refuse(int status)
{
  emulated_gpu::gpu.refusal = static_cast<cudaError_t>(status);
}

void emulated_gpu_set(uint64_t seed, int shared_bytes)
{
  auto &gpu = emulated_gpu::gpu;
  gpu.in_order = seed == 0;
  gpu.random.seed(seed);
  gpu.most_shared_bytes = shared_bytes;
}

uint64_t emulated_gpu_num_blocks()
{
  return emulated_gpu::gpu.num_blocks;
}

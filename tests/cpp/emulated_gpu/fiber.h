// SPDX-License-Identifier: MIT
#pragma once

#include "memory.h"

#include <csetjmp>
#include <ucontext.h>

#if defined(EMULATED_GPU_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace emulated_gpu {

/// What ThreadSanitizer must know: that fibers are threads, and who waits for whom. Nothing without
/// it.
struct Tsan {
#if defined(EMULATED_GPU_TSAN)
  static constexpr bool ON = true;
  static constexpr unsigned NO_ORDER = 1;    // of two fibers, by switching from one to the other
  static void *here() { return __tsan_get_current_fiber(); }
  static void *create() { return __tsan_create_fiber(0); }
  static void destroy(void *fiber) { __tsan_destroy_fiber(fiber); }
  static void go_to(void *fiber) { __tsan_switch_to_fiber(fiber, NO_ORDER); }
  static void before(void *event) { __tsan_release(event); }
  static void after(void *event) { __tsan_acquire(event); }
#else
  static constexpr bool ON = false;
  static void *here() { return nullptr; }
  static void *create() { return nullptr; }
  static void destroy(void * /*fiber*/) {}
  static void go_to(void * /*fiber*/) {}
  static void before(void * /*event*/) {}
  static void after(void * /*event*/) {}
#endif
};

/// A stack of its own, on which a function runs that can be left in its midst and gone on with.
class Fiber {
 public:
  Fiber()
      : stack(256 << 10)
      , known(Tsan::create())
  {
  }

  ~Fiber() { Tsan::destroy(known); }

  /// Goes on with it, or begins with `body`, which must not return; until it calls leave().
  void resume(void (*body)())
  {
    caller = Tsan::here();
    if (_setjmp(outside) != 0)
      return;
    Tsan::go_to(known);
    if (begun)
      _longjmp(inside, 1);
    begun = true;
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stack.begin();
    start.uc_stack.ss_size = stack.size();
    start.uc_link = nullptr;
    makecontext(&start, body, 0);
    setcontext(&start);
  }

  /// Back to who called resume(); called inside.
  void leave()
  {
    if (_setjmp(inside) == 0)
      break_off();
  }

  /// The same without a way to go on.
  [[noreturn]] void break_off()
  {
    Tsan::go_to(caller);
    _longjmp(outside, 1);
  }

  /// Begin anew next time.
  void forget() { begun = false; }

 private:
  GuardedMemory stack;
  void *known, *caller = nullptr;
  bool begun = false;
  std::jmp_buf inside, outside;
};

}    // namespace emulated_gpu

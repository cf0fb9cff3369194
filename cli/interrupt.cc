#include "cli/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace mkvm::cli {
namespace {

constexpr int kLast = 3;
std::atomic<int> presses{0};
static_assert(std::atomic<int>::is_always_lock_free,
              "a signal handler must not wait for a lock");

void Count(int signal_number) {
  if (presses.fetch_add(1) + 1 < kLast) return;
  // Taken as soon as this handler returns.
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void Install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  // Nothing that waits is to fail for it.
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  Clear();
  Install(Count);
}
InterruptGuard::~InterruptGuard() { Install(SIG_DFL); }
bool InterruptGuard::Requested() { return presses.load() > 0; }
void InterruptGuard::Clear() { presses.store(0); }

void EndInterrupted() {
  std::fflush(nullptr);
  Install(SIG_DFL);
  std::raise(SIGINT);
  std::_Exit(130);  // where SIGINT is blocked
}

}  // namespace mkvm::cli

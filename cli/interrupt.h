// Ctrl-C as a question: has it been pressed?
#ifndef MKVM_CLI_INTERRUPT_H_
#define MKVM_CLI_INTERRUPT_H_

namespace mkvm::cli {

// While one lives, SIGINT is counted and ends nothing. The third without a
// Clear in between ends the process all the same: a way out when whoever should
// look does not get to it. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool Requested();
  static void Clear();
};

// Ends the process as SIGINT would have, so that a shell sees why.
[[noreturn]] void EndInterrupted();

}  // namespace mkvm::cli

#endif  // MKVM_CLI_INTERRUPT_H_

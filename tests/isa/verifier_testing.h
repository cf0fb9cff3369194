// The programs of the verifier's tests, and how they are spoiled.
#ifndef MKVM_TESTS_ISA_VERIFIER_TESTING_H_
#define MKVM_TESTS_ISA_VERIFIER_TESTING_H_

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "isa/assembler.h"
#include "isa/program.h"
#include "isa/verifier.h"

namespace mkvm::isa {

// A whole decode loop on two workers: embed, a norm and a head, argmax,
// advance. Activations travel as tagged data, the token by release.
inline constexpr char kDecode[] = R"(
program decode
buffer tokens i32 [8] state
buffer run i32 [2] input
buffer eos i32 [1] input
buffer table bf16 [32, 16] weight
buffer g bf16 [16] weight
buffer w bf16 [32, 16] weight layout=panels
buffer x f24 [16] activation
buffer best ranked [2] activation
buffer token ranked [1] activation
buffer stop i32 [1] state
counter x
counter best
counter token
counter advanced
worker 0
  embed[0]: embed tokens=tokens table=table y=x begin=0 count=8 signal(x relaxed)
  head[0]: gemv x=x w=w g=g best=best row_begin=0 rows=16 k=16 slot=0 eps=0.5 prologue=rms_norm epilogue=argmax wait(x tagged) polled(x) signal(best relaxed)
  argmax: argmax x=best y=token n=2 wait(best tagged) polled(x) signal(token relaxed)
  advance: advance best=token run=run eos=eos tokens=tokens stop=stop wait(token tagged) polled(best) signal(advanced)
  halt[0]: halt stop=stop wait(advanced)
worker 1
  embed[1]: embed tokens=tokens table=table y=x begin=8 count=8 signal(x relaxed)
  head[1]: gemv x=x w=w g=g best=best row_begin=16 rows=16 k=16 slot=1 eps=0.5 prologue=rms_norm epilogue=argmax wait(x tagged) polled(x) signal(best relaxed)
  halt[1]: halt stop=stop wait(advanced)
)";

// A pipe over two workers without a stop: `first` writes h, `second` reads it;
// the lagged wait lets `first` overwrite h only then.
inline constexpr char kPipe[] = R"(
program pipe
buffer in f24 [16] input
buffer h f24 [16] activation
buffer y f24 [16] activation
counter h
counter y
worker 0
  first: add a=in b=in y=h begin=0 count=16 wait(y lag) signal(h)
  halt
worker 1
  second: add a=h b=h y=y begin=0 count=16 wait(h) signal(y)
  halt
)";

// State handed from worker to worker: one appends to the caches, another
// attends to them. Counters only.
inline constexpr char kCache[] = R"(
program cache
buffer q f24 [8] input
buffer k f24 [8] input
buffer v f24 [8] input
buffer norm bf16 [8] weight
buffer rope f32 [16, 8] weight
buffer k_cache bf16 [1, 16, 8] state
buffer v_cache bf16 [1, 16, 8] state
buffer q_out f24 [8] activation
buffer part f24 [1, 1, 1, 12] activation
counter append
counter part
worker 0
  append: qk_norm_rope_append q=q k=k v=v q_norm=norm k_norm=norm rope=rope k_cache=k_cache v_cache=v_cache q_out=q_out kv_head=0 group=1 head_dim=8 splits=1 block=8 eps=0.5 wait(part lag) signal(append)
  halt
worker 1
  attend: attention q=q_out k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=0 splits=1 block=8 wait(append) signal(part)
  halt
)";

// `sum` waits for both parts, but polls only what `low` writes.
inline constexpr char kParts[] = R"(
buffer in f24 [8] input
buffer a f24 [4] activation
buffer low f24 [4] activation
buffer other f24 [4] activation
buffer y f24 [4] activation
counter a
counter parts
counter y
worker 0
  a: add a=in b=in y=a begin=0 count=4 wait(y lag) signal(a)
  low: add a=in b=in y=low begin=0 count=4 wait(y lag) signal(parts relaxed)
  halt
worker 1
  other: add a=a b=in y=other begin=0 count=4 wait(a) signal(parts relaxed)
  halt
worker 2
  sum: add a=low b=in y=y begin=0 count=4 wait(parts) polled(a) signal(y)
  halt
)";

// `left` polls one half of what `twice` writes: that half is out, but `twice`
// may still be reading h for the other.
inline constexpr char kHalf[] = R"(
buffer in f24 [8] input
buffer h f24 [8] activation
buffer m f24 [8] activation
buffer y f24 [4] activation
counter h
counter m
counter y
worker 0
  h: add a=in b=in y=h begin=0 count=8 wait(m lag, y lag) signal(h)
  halt
worker 1
  twice: add a=h b=h y=m begin=0 count=8 wait(h) signal(m relaxed)
  halt
worker 2
  left: add a=m b=in y=y begin=0 count=4 wait(m tagged) polled(a) signal(y relaxed)
  halt
)";

// `sum` publishes x element by element as those of m arrive; `high`, which
// comes after the reader of x, has to do with some elements only.
inline constexpr char kElements[] = R"(
buffer in f24 [8] input
buffer m f24 [8] activation
buffer x f24 [8] activation
buffer y f24 [8] activation
counter m
counter x
counter y
worker 0
  low: add a=in b=in y=m begin=0 count=4 wait(x lag) signal(m relaxed)
  halt
worker 1
  sum: add a=m b=in y=x begin=0 count=8 wait(m tagged, y lag) polled(a) signal(x)
  halt
worker 2
  high: add a=in b=in y=m begin=4 count=4 wait(x lag) signal(m relaxed)
  read: add a=x b=in y=y begin=0 count=8 wait(x) signal(y relaxed)
  halt
)";

// `merge` polls only some elements of the part that `attend` writes.
inline constexpr char kMerge[] = R"(
buffer in f24 [8] input
buffer q f24 [8] activation
buffer k_cache bf16 [1, 16, 8] state
buffer v_cache bf16 [1, 16, 8] state
buffer part f24 [1, 1, 1, 12] activation
buffer y f24 [8] activation
counter q
counter part
counter y
worker 0
  q: add a=in b=in y=q begin=0 count=8 wait(part lag, y lag) signal(q)
  halt
worker 1
  attend: attention q=q k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=0 splits=1 block=8 wait(q) signal(part relaxed)
  halt
worker 2
  merge: attention_merge part=part y=y kv_head=0 group=1 member=0 head_dim=8 splits=1 begin=0 count=8 wait(part tagged) polled(part) signal(y relaxed)
  halt
)";

// Below position 2 `attend0` writes what `merge` writes from then on; `read`
// polls it, whoever wrote it.
inline constexpr char kAlone[] = R"(
buffer in f24 [8] input
buffer q f24 [8] activation
buffer k_cache bf16 [2, 8, 8] state
buffer v_cache bf16 [2, 8, 8] state
buffer part f24 [1, 2, 1, 12] activation
buffer att f24 [8] activation
buffer y f24 [8] activation
counter q
counter part
counter att
counter y
worker 0
  q: add a=in b=in y=q begin=0 count=8 wait(part lag, y lag) signal(q)
  attend0: attention q=q k_cache=k_cache v_cache=v_cache part=part y=att kv_head=0 group=1 head_dim=8 split=0 splits=2 block=2 alone=2 wait(q) signal(part relaxed)
  halt
worker 1
  attend1: attention q=q k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=1 splits=2 block=2 alone=2 wait(q) signal(part relaxed)
  halt
worker 2
  merge: attention_merge part=part y=att kv_head=0 group=1 member=0 head_dim=8 splits=2 begin=0 count=8 alone=2 wait(part tagged, y lag) polled(part) signal(att relaxed)
  halt
worker 3
  read: add a=att b=in y=y begin=0 count=8 wait(att tagged) polled(a) signal(y)
  halt
)";

// Splits that begin one after another, and a merge that takes one part more
// each time; split 0 works alone at position 0.
inline constexpr char kGrowing[] = R"(
buffer in f24 [8] input
buffer q f24 [8] activation
buffer k_cache bf16 [3, 8, 8] state
buffer v_cache bf16 [3, 8, 8] state
buffer part f24 [1, 3, 1, 12] activation
buffer att f24 [8] activation
buffer y f24 [8] activation
counter q
counter part
counter att
counter y
worker 0
  q: add a=in b=in y=q begin=0 count=8 wait(part lag, y lag) signal(q)
  attend0: attention q=q k_cache=k_cache v_cache=v_cache part=part y=att kv_head=0 group=1 head_dim=8 split=0 splits=3 block=1 alone=1 wait(q) signal(part relaxed)
  halt
worker 1
  attend1: attention q=q k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=1 splits=3 block=1 alone=1 wait(q) signal(part relaxed)
  halt
worker 2
  attend2: attention q=q k_cache=k_cache v_cache=v_cache part=part kv_head=0 group=1 head_dim=8 split=2 splits=3 block=1 alone=2 wait(q) signal(part relaxed)
  halt
worker 3
  merge: attention_merge part=part y=att kv_head=0 group=1 member=0 head_dim=8 splits=3 begin=0 count=8 alone=1 block=1 wait(part tagged, y lag) polled(part) signal(att relaxed)
  halt
worker 4
  read: add a=att b=in y=y begin=0 count=8 wait(att tagged) polled(a) signal(y)
  halt
)";

// State that one worker reads and another then writes for the next pass.
inline constexpr char kState[] = R"(
buffer in f24 [4] input
buffer s f24 [4] state
buffer y f24 [4] activation
counter s
counter y
worker 0
  read: add a=s b=in y=y begin=0 count=4 wait(s lag) signal(y)
  halt
worker 1
  write: add a=in b=in y=s begin=0 count=4 wait(y) signal(s)
  halt
)";

// Three workers; `both` counts `a` and `b`.
inline constexpr char kLap[] = R"(
counter parts
counter both
worker 0
  a: nop wait(both lag) signal(parts)
  halt
worker 1
  b: nop wait(both lag) signal(parts)
  halt
worker 2
  both: nop wait(parts) signal(both)
  halt
)";

// As kLap, but `a` also follows `b` by way of a signal that is no release.
inline constexpr char kOvertaken[] = R"(
counter parts
counter both
counter after_b
worker 0
  a: nop wait(after_b lag, both lag) signal(parts relaxed)
  halt
worker 1
  b: nop wait(both lag) signal(parts relaxed)
  after_b: nop signal(after_b relaxed)
  halt
worker 2
  both: nop wait(parts) signal(both)
  halt
)";

inline std::string Replace(std::string text, const std::string& from,
                           const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << "no " << from;
  if (at == std::string::npos) return text;
  EXPECT_EQ(text.find(from, at + 1), std::string::npos) << "two " << from;
  return text.replace(at, from.size(), to);
}

inline Program Parse(const std::string& text) {
  absl::StatusOr<Program> program = Assemble(text);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *std::move(program) : Program();
}

inline std::string Errors(const Program& program) {
  std::string errors;
  for (const Diagnostic& d : Verify(program)) {
    absl::StrAppend(&errors, d.message, "\n");
  }
  return errors;
}

inline std::string Errors(const std::string& text) {
  return Errors(Parse(text));
}

// kDecode with one place of its text replaced.
inline std::string ErrorsOfDecode(const std::string& from,
                                  const std::string& to) {
  return Errors(Replace(kDecode, from, to));
}
inline std::string ErrorsOfPipe(const std::string& from,
                                const std::string& to) {
  return Errors(Replace(kPipe, from, to));
}

inline Instruction& Find(Program& program, const std::string& label) {
  for (size_t w = 0; w < program.queues.size(); ++w) {
    for (size_t pc = 0; pc < program.queues[w].size(); ++pc) {
      if (program.labels[w][pc] == label) return program.queues[w][pc];
    }
  }
  ADD_FAILURE() << "no instruction " << label;
  return program.queues[0][0];
}

inline Buffer& FindBufferOf(Program& program, const std::string& name) {
  return program.buffers[FindBuffer(program, name)];
}

}  // namespace mkvm::isa

#endif  // MKVM_TESTS_ISA_VERIFIER_TESTING_H_

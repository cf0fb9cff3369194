// What the verifier says of programs whose instructions do one thing while the
// context is short and another from then on.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "isa/verifier.h"
#include "tests/isa/verifier_testing.h"

namespace mkvm::isa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kBelow[] = " (in passes below position 2)";
constexpr char kFrom[] = " (in passes from position 2 on)";

// kAlone with one place of its text replaced.
std::string AloneWith(const std::string& from, const std::string& to) {
  return Replace(kAlone, from, to);
}

// What is said of both transports; the same, or the test fails.
std::string ErrorsOfBoth(const std::string& text) {
  const Program program = Parse(text);
  std::string errors = Errors(program);
  EXPECT_EQ(Errors(WithCountersOnly(program)), errors);
  return errors;
}

// The text from `begin` up to `end`.
std::string Cut(std::string text, const std::string& begin,
                const std::string& end) {
  const size_t from = text.find(begin);
  const size_t to = text.find(end, from);
  EXPECT_NE(to, std::string::npos);
  return text.erase(from, to - from);
}

TEST(VerifierAloneTest, AcceptsBothTransports) {
  EXPECT_EQ(ErrorsOfBoth(kAlone), "");
}

TEST(VerifierAloneTest, AMergeThatIsNeverIdleIsRejected) {
  EXPECT_THAT(
      ErrorsOfBoth(AloneWith("count=8 alone=2", "count=8")),
      AllOf(HasSubstr("att[0..8) is written twice in a pass" +
                      std::string(kBelow)),
            HasSubstr("worker 2, pc 0 (merge, attention_merge): error: reads "
                      "part[0..24), but part[0..24) is not written in this "
                      "pass" +
                      std::string(kBelow)),
            Not(HasSubstr(kFrom))));
}

TEST(VerifierAloneTest, ASplitThatIsNeverIdleIsRejected) {
  EXPECT_THAT(
      ErrorsOfBoth(AloneWith("split=1 splits=2 block=2 alone=2",
                             "split=1 splits=2 block=2")),
      AllOf(HasSubstr("buffer part: error: part[0..12) is not written, but "
                      "every element of an activation is written in every "
                      "pass" +
                      std::string(kBelow)),
            Not(HasSubstr(kFrom))));
}

TEST(VerifierAloneTest, ASplitThatNeverWorksAloneIsRejected) {
  const std::string text =
      Replace(AloneWith("part=part y=att kv_head=0 group=1 head_dim=8 split=0",
                        "part=part kv_head=0 group=1 head_dim=8 split=0"),
              "split=0 splits=2 block=2 alone=2", "split=0 splits=2 block=2");
  EXPECT_THAT(ErrorsOfBoth(text),
              AllOf(HasSubstr("worker 3, pc 0 (read, add): error: reads "
                              "att[0..8), but att[0..8) is not written in this "
                              "pass" +
                              std::string(kBelow)),
                    Not(HasSubstr(kFrom))));
}

TEST(VerifierAloneTest, NobodyElseMayReadThePartsBelow) {
  const std::string text = Replace(
      AloneWith("counter q\n", "buffer copy f24 [8] activation\ncounter q\n"),
      "worker 3\n",
      "worker 3\n  peek: add a=part b=in y=copy begin=0 count=8 wait(part "
      "tagged) polled(a)\n");
  EXPECT_THAT(Errors(text),
              HasSubstr("worker 3, pc 0 (peek, add): error: reads part[0..8), "
                        "but part[0..8) is not written in this pass" +
                        std::string(kBelow)));
}

TEST(VerifierAloneTest, WithoutAMergeNothingIsWrittenFromThenOn) {
  std::string text = Cut(kAlone, "  merge:", "  halt\nworker 3");
  text = Replace(text, "wait(att tagged) polled(a)",
                 "wait(part tagged) polled(a)");
  text = Cut(text, "counter att\n", "counter y");
  EXPECT_THAT(ErrorsOfBoth(text),
              AllOf(HasSubstr("worker 3, pc 0 (read, add): error: reads "
                              "att[0..8), but att[0..8) is not written in this "
                              "pass" +
                              std::string(kFrom)),
                    Not(HasSubstr(kBelow))));
}

TEST(VerifierAloneTest, AnotherOutputThanTheMergesIsRejected) {
  const std::string text = Replace(
      AloneWith("counter q\n", "buffer other f24 [8] activation\ncounter q\n"),
      "part=part y=att kv_head=0 group=1 head_dim=8 split=0",
      "part=part y=other kv_head=0 group=1 head_dim=8 split=0");
  EXPECT_THAT(ErrorsOfBoth(text),
              HasSubstr("reads att[0..8), but att[0..8) is not written in this "
                        "pass" +
                        std::string(kBelow)));
}

TEST(VerifierAloneTest, SeveralPositionsAreRejected) {
  EXPECT_EQ(
      ErrorsOfBoth(AloneWith("count=8 alone=2", "count=8 alone=1")),
      "worker 2, pc 0 (merge, attention_merge): error: its alone is 1, but a "
      "program has one such position, and here another is 2\n"
      "  note: that is the alone of worker 0, pc 1 (attend0, attention)\n"
      "  mend: give both the same alone, or 0\n");
}

TEST(VerifierAloneTest, ReadersAreOrderedBehindWhoeverWritesThen) {
  // A merge hands on what its parts' counter orders only if it counts them; in
  // passes below, the element is not its own.
  const std::string text =
      Replace(AloneWith("wait(att tagged) polled(a)", "wait(att)"),
              "polled(part) signal(att relaxed)", "polled(part) signal(att)");
  EXPECT_THAT(
      Errors(text),
      AllOf(HasSubstr("worker 3, pc 0 (read, add): error: reads att[0..8) "
                      "without polling, but only tagged data or signals "
                      "without release order it after the write of att[0..8)" +
                      std::string(kBelow)),
            HasSubstr("note: att[0..8) is written by worker 0, pc 1 (attend0, "
                      "attention)"),
            Not(HasSubstr(kFrom))));
  EXPECT_EQ(Errors(WithCountersOnly(Parse(text))), "");
}

TEST(VerifierAloneTest, WhatHappensFromThenOnIsOrderedToo) {
  const Program program =
      Parse(AloneWith("split=1 splits=2 block=2 alone=2 wait(q)",
                      "split=1 splits=2 block=2 alone=2 wait(part lag)"));
  for (const Program& transport : {program, WithCountersOnly(program)}) {
    EXPECT_THAT(Errors(transport),
                AllOf(HasSubstr("worker 1, pc 0 (attend1, attention): error: "
                                "reads q[0..8), but nothing orders it after "
                                "the write of q[0..8)" +
                                std::string(kFrom)),
                      Not(HasSubstr(kBelow))));
  }
}

TEST(VerifierAloneTest, AMergeDoesNotOverwriteWhatMayStillBeRead) {
  EXPECT_THAT(
      Errors(AloneWith("wait(part tagged, y lag)", "wait(part tagged)")),
      HasSubstr("worker 2, pc 0 (merge, attention_merge): error: writes "
                "att[0..8), but nothing orders it after the read of "
                "att[0..8) in the pass before"));
}

// From one pass to the next another worker writes the element.
TEST(VerifierAloneTest, TheFirstMergeFollowsTheLastWriteWithoutOne) {
  // Nobody reads att, so that no reader stands between.
  std::string text(kAlone);
  text.resize(text.find("worker 3"));
  text = Replace(text, "wait(part lag, y lag)", "wait(part lag)");
  text = Replace(text, "wait(part tagged, y lag)", "wait(part tagged)");
  text = Replace(text, "buffer y f24 [8] activation\n", "");
  text = Replace(text, "counter y\n", "");
  EXPECT_THAT(
      Errors(text),
      AllOf(HasSubstr("worker 2, pc 0 (merge, attention_merge): error: writes "
                      "att[0..8), but nothing orders it after the write of "
                      "att[0..8) in the pass before (from a pass below "
                      "position 2 to one from it on)"),
            HasSubstr("note: att[0..8) is written by worker 0, pc 1 (attend0, "
                      "attention)"),
            HasSubstr("mend: wait for counter part, which that instruction "
                      "signals with lag 1")));
  // Counted and released it is in order.
  text = Replace(text, "wait(part tagged)", "wait(part)");
  text = Replace(text,
                 "block=2 alone=2 wait(q) signal(part relaxed)\n  halt\n"
                 "worker 1",
                 "block=2 alone=2 wait(q) signal(part)\n  halt\nworker 1");
  EXPECT_THAT(Errors(text), Not(HasSubstr("after the write of att")));
}

TEST(VerifierAloneTest, WhatIsWrongInAllPassesIsSaidOnce) {
  const std::string with_z =
      AloneWith("counter q\n", "buffer z f24 [8] activation\ncounter q\n");
  EXPECT_EQ(ErrorsOfBoth(with_z),
            "buffer z: error: z[0..8) is not written, but every element of an "
            "activation is written in every pass\n");
  const std::string errors = Errors(
      Replace(with_z, "  halt\nworker 3\n",
              "  look: add a=y b=in y=z begin=0 count=8\n  halt\nworker 3\n"));
  const std::string look =
      "(look, add): error: reads y[0..8), but nothing orders it after the "
      "write "
      "of y[0..8)\n";
  EXPECT_THAT(errors, HasSubstr(look));
  EXPECT_EQ(errors.find(look), errors.rfind(look));
  EXPECT_THAT(errors, Not(HasSubstr("position")));
}

}  // namespace
}  // namespace mkvm::isa

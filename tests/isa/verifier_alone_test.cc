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
              HasSubstr("worker 3, pc 0 (read, add): error: reads att[0..8) "
                        "from position 0 on, but att[0..8) is written from "
                        "position 2 on\n"
                        "  note: it is written by worker 2, pc 0 (merge, "
                        "attention_merge)\n"));
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

TEST(VerifierAloneTest, AMergeBeginsWhereSplit0Ends) {
  EXPECT_THAT(ErrorsOfBoth(AloneWith("count=8 alone=2", "count=8 alone=1")),
              AllOf(HasSubstr("worker 2, pc 0 (merge, attention_merge): error: "
                              "writes att[0..8), but att[0..8) is written "
                              "twice in a pass" +
                              std::string(kBelow)),
                    Not(HasSubstr(kFrom))));
  EXPECT_THAT(
      ErrorsOfBoth(AloneWith("count=8 alone=2", "count=8 alone=3")),
      HasSubstr("worker 3, pc 0 (read, add): error: reads att[0..8) from "
                "position 2 on, but att[0..8) is written from position 3 on" +
                std::string(kFrom) +
                "\n  note: it is written by worker 2, pc 0 (merge, "
                "attention_merge)\n"));
}

TEST(VerifierAloneTest, SeveralEndsAreRejected) {
  std::string text = AloneWith("counter q\n",
                               "buffer k2 bf16 [1, 8, 8] state\n"
                               "buffer v2 bf16 [1, 8, 8] state\n"
                               "buffer p2 f24 [1, 1, 1, 12] activation\n"
                               "buffer a2 f24 [8] activation\ncounter q\n");
  text = Replace(text, "worker 2\n",
                 "worker 2\n  other: attention q=q k_cache=k2 v_cache=v2 "
                 "part=p2 y=a2 kv_head=0 group=1 head_dim=8 split=0 splits=1 "
                 "block=2 alone=1 wait(q)\n");
  EXPECT_EQ(
      ErrorsOfBoth(text),
      "worker 2, pc 0 (other, attention): error: it works alone below position "
      "1, but a program has one such position, and here another is 2\n"
      "  note: that is the alone of worker 0, pc 1 (attend0, attention)\n"
      "  mend: give both the same alone, or 0\n");
}

TEST(VerifierAloneTest, SplitsMayBeginOneAfterAnother) {
  EXPECT_EQ(ErrorsOfBoth(kGrowing), "");
}

TEST(VerifierAloneTest, APartIsTakenAsSoonAsItIsWritten) {
  EXPECT_EQ(
      ErrorsOfBoth(Replace(kGrowing, "split=2 splits=3 block=1 alone=2",
                           "split=2 splits=3 block=1 alone=1")),
      "worker 3, pc 0 (merge, attention_merge): error: reads part[24..36) "
      "from position 2 on, but part[24..36) is written from position 1 "
      "on, so that a part is forgotten until then (in passes from "
      "position 1 on)\n"
      "  note: it is written by worker 2, pc 0 (attend2, attention)\n");
  // Also if another merge takes it in time.
  std::string text = Replace(kGrowing, "begin=0 count=8 alone=1 block=1 wait",
                             "begin=0 count=4 alone=1 block=1 wait");
  text = Replace(text, "worker 4\n",
                 "  other: attention_merge part=part y=att kv_head=0 group=1 "
                 "member=0 head_dim=8 splits=3 begin=4 count=4 alone=1 block=1 "
                 "wait(part tagged, y lag) polled(part) signal(att relaxed)\n"
                 "  halt\nworker 4\n");
  text = Replace(text, "signal(att relaxed)\n  halt\n  other",
                 "signal(att relaxed)\n  other");
  EXPECT_EQ(ErrorsOfBoth(text), "");
  EXPECT_THAT(
      ErrorsOfBoth(Replace(text, "begin=4 count=4 alone=1 block=1",
                           "begin=4 count=4 alone=1 block=2")),
      HasSubstr("worker 3, pc 1 (other, attention_merge): error: reads "
                "part[12..24) from position 2 on, but part[12..24) is written "
                "from position 1 on"));
}

TEST(VerifierAloneTest, APartIsNotTakenBeforeItIsWritten) {
  EXPECT_EQ(ErrorsOfBoth(Replace(kGrowing, "alone=1 block=1 wait(part tagged",
                                 "alone=1 wait(part tagged")),
            "worker 3, pc 0 (merge, attention_merge): error: reads part[0..36) "
            "from position 1 on, but part[24..36) is written from position 2 "
            "on (in passes from position 1 on)\n"
            "  note: it is written by worker 2, pc 0 (attend2, attention)\n");
}

// `x` is overwritten by a worker that knows of its readers by a poll of what
// they have made of it; the poll of an instruction that is idle for some time
// is none.
TEST(VerifierAloneTest, APollThatBeginsLaterOrdersNothing) {
  std::string text = Replace(kGrowing, "counter q\n",
                             "buffer x f24 [8] activation\n"
                             "counter x\ncounter go\ncounter q\n");
  // `q` has a worker of its own, and attend0 and attend2 poll it.
  text = Cut(text, "  q: add", "  attend0:");
  text +=
      "worker 5\n"
      "  go: nop wait(part lag, y lag) signal(go)\n"
      "  q: add a=x b=in y=q begin=0 count=8 wait(x) signal(q)\n"
      "  halt\n";
  // All in passes of one kind: nobody works alone.
  text = Replace(text, "part=part y=att kv_head=0 group=1 head_dim=8 split=0",
                 "part=part kv_head=0 group=1 head_dim=8 split=0");
  text = Replace(text, "count=8 alone=1 block=1", "count=8 block=1");
  text = Replace(text, "split=0 splits=3 block=1 alone=1 wait(q)",
                 "split=0 splits=3 block=1 wait(go, q tagged) polled(q)");
  text = Replace(text, "split=2 splits=3 block=1 alone=2 wait(q)",
                 "split=2 splits=3 block=1 alone=2 wait(go, q tagged) "
                 "polled(q)");
  const std::string x = "  x: add a=in b=in y=x begin=0 count=8 signal(x)\n";
  EXPECT_EQ(Errors(Replace(text, "worker 0\n", "worker 0\n" + x)), "");
  EXPECT_THAT(Errors(Replace(text, "worker 2\n", "worker 2\n" + x)),
              HasSubstr("worker 2, pc 0 (x, add): error: writes x[0..8), but "
                        "nothing orders it after the read of x[0..8) in the "
                        "pass before"));
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

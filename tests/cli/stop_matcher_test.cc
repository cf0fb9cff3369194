#include "cli/stop_matcher.h"

#include <gtest/gtest.h>

namespace mkvm::cli {
namespace {

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("a"), "a");
  EXPECT_EQ(matcher.Finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, StopsWhereverThePiecesAreCut) {
  const std::string text = "one two END three";
  const std::string stop = "END";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      StopMatcher matcher({stop});
      std::string shown = matcher.Push(text.substr(0, first));
      shown += matcher.Push(text.substr(first, second - first));
      // Nothing of the stop string has been shown at any time.
      EXPECT_EQ(shown.find('E'), std::string::npos);
      shown += matcher.Push(text.substr(second));
      EXPECT_EQ(shown, "one two ");
      EXPECT_TRUE(matcher.stopped());
      EXPECT_EQ(matcher.match(), stop);
      EXPECT_EQ(matcher.Push("more"), "");
      EXPECT_EQ(matcher.Finish(), "");
    }
  }
}

TEST(StopMatcher, WhatOnlyBeganAsOneIsShown) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("xE"), "x");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("E"), "EN");
  EXPECT_EQ(matcher.Push("Nd"), "ENd");
  EXPECT_EQ(matcher.Push("EN"), "");
  EXPECT_EQ(matcher.Finish(), "EN");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, HoldsBackNoMoreThanItMust) {
  // "aab" after "aa": the second 'a' may begin it, the first may not.
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.Push("aaa"), "a");
  EXPECT_EQ(matcher.Push("b"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, TheFirstOfSeveralWins) {
  StopMatcher matcher({"two", "one"});
  EXPECT_EQ(matcher.Push("0 one two"), "0 ");
  EXPECT_EQ(matcher.match(), "one");
  // The one that is complete first, not the one that began first.
  StopMatcher other({"abcd", "bc"});
  EXPECT_EQ(other.Push("abc"), "a");
  EXPECT_EQ(other.match(), "bc");
}

}  // namespace
}  // namespace mkvm::cli

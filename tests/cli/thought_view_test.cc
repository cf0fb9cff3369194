#include "cli/thought_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mkvm::cli {
namespace {

constexpr char kText[] = "<think>\nhm </thin\n</think>\n\nYes <b>.";

// What is shown of `text` in pieces of `size` bytes.
std::string Shown(ThoughtMode mode, bool terminal, const std::string& text,
                  size_t size) {
  std::string shown;
  ThoughtView view(mode, terminal, [&](absl::string_view piece) {
    shown.append(piece.data(), piece.size());
  });
  for (size_t at = 0; at < text.size(); at += size) {
    view.Push(text.substr(at, size));
  }
  view.Finish();
  return shown;
}

TEST(ThoughtView, WhateverThePieces) {
  for (size_t size = 1; size <= sizeof(kText); ++size) {
    EXPECT_EQ(Shown(ThoughtMode::kShow, true, kText, size), kText);
    // A file has no dim text.
    EXPECT_EQ(Shown(ThoughtMode::kDim, false, kText, size), kText);
    EXPECT_EQ(Shown(ThoughtMode::kDim, true, kText, size),
              "\033[2m<think>\nhm </thin\n</think>\033[0m\n\nYes <b>.");
    EXPECT_EQ(Shown(ThoughtMode::kHide, false, kText, size), "Yes <b>.");
    EXPECT_EQ(Shown(ThoughtMode::kHide, true, kText, size),
              "\033[2mthinking ...\033[0m\r\033[KYes <b>.");
  }
}

TEST(ThoughtView, AThoughtThatIsCutOff) {
  EXPECT_EQ(Shown(ThoughtMode::kDim, true, "<think>so</thi", 3),
            "\033[2m<think>so</thi\033[0m");
  EXPECT_EQ(Shown(ThoughtMode::kHide, true, "<think>so", 3),
            "\033[2mthinking ...\033[0m\r\033[K");
  EXPECT_EQ(Shown(ThoughtMode::kHide, false, "<think>so", 3), "");
}

TEST(ThoughtView, WithoutAThought) {
  EXPECT_EQ(Shown(ThoughtMode::kHide, true, "\n a <thin", 2), "\n a <thin");
}

TEST(ThoughtView, ModesByName) {
  EXPECT_EQ(*ParseThoughtMode("hide"), ThoughtMode::kHide);
  EXPECT_EQ(ParseThoughtMode("grey").status().message(),
            "\"grey\" is not show, dim or hide");
}

TEST(CloseThought, OnlyWhatIsOpen) {
  EXPECT_EQ(CloseThought("a"), "a");
  EXPECT_EQ(CloseThought("<think>a</think>b"), "<think>a</think>b");
  EXPECT_EQ(CloseThought("<think>a"), "<think>a\n</think>\n\n");
}

}  // namespace
}  // namespace mkvm::cli

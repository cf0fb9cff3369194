// Seeded damage to a sound tokenizer, and random text through it: whatever the
// bytes, the answer is ids that decode to the same text or an error with a
// message of one line.
#include <random>

#include "model/tokenizer.h"
#include "tests/model/files.h"
#include "tests/model/tiny_tokenizer.h"

namespace mkvm::model {
namespace {

void ExpectOneLine(const absl::Status& status) {
  EXPECT_FALSE(status.message().empty());
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
}

// Loads what is in the folder and uses it. True if it could be loaded.
bool LoadAndUse(const TempFolder& folder) {
  const auto tokenizer = Tokenizer::Load(folder.path());
  if (!tokenizer.ok()) {
    ExpectOneLine(tokenizer.status());
    return false;
  }
  const auto ids = tokenizer->Encode(
      "Hello world <|end|> <think>e\u0301 \U0001f642 aaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  \r\n\t x1");
  if (!ids.ok()) {
    ExpectOneLine(ids.status());
    return true;
  }
  EXPECT_TRUE(tokenizer->Decode(*ids).ok());
  return true;
}

std::string Damage(std::string bytes, std::mt19937& random) {
  const int edits = 1 + static_cast<int>(random() % 3);
  for (int i = 0; i < edits && !bytes.empty(); ++i) {
    const size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
        break;
      case 1:
        bytes[at] = "0123456789[]{},:\"\\-?+*()|"[random() % 25];
        break;
      case 2:
        bytes.erase(at, 1 + random() % 8);
        break;
      default:
        bytes.insert(at, bytes.substr(at, 1 + random() % 8));
    }
  }
  return bytes;
}

TEST(TokenizerFuzz, EveryTruncationIsRefused) {
  const TempFolder folder;
  const std::string text = TinyTokenizer().dump();
  WriteAll(folder / "tokenizer.json", text);
  ASSERT_TRUE(LoadAndUse(folder));
  for (size_t size = 0; size < text.size(); size += 3) {
    WriteAll(folder / "tokenizer.json", text.substr(0, size));
    EXPECT_FALSE(LoadAndUse(folder)) << size;
  }
}

TEST(TokenizerFuzz, DamagedJson) {
  const TempFolder folder;
  const std::string text = TinyTokenizer().dump();
  std::mt19937 random(3);
  int refused = 0;
  constexpr int kRounds = 4000;
  for (int i = 0; i < kRounds; ++i) {
    WriteAll(folder / "tokenizer.json", Damage(text, random));
    refused += LoadAndUse(folder) ? 0 : 1;
  }
  EXPECT_GT(refused, kRounds / 3);
  EXPECT_LT(refused, kRounds);
}

// The regular expression comes from the file, too.
TEST(TokenizerFuzz, DamagedPattern) {
  const TempFolder folder;
  std::mt19937 random(4);
  int refused = 0;
  constexpr int kRounds = 2000;
  for (int i = 0; i < kRounds; ++i) {
    nlohmann::ordered_json root = TinyTokenizer();
    std::string pattern = Damage(kQwenPattern, random);
    for (char& c : pattern) c = static_cast<char>(c & 0x7f);
    root["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern;
    WriteAll(folder / "tokenizer.json", root.dump());
    refused += LoadAndUse(folder) ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, kRounds);
}

TEST(TokenizerFuzz, DamagedVocabAndMerges) {
  const TempFolder folder;
  const std::string vocab = TinyTokenizer()["model"]["vocab"].dump();
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : TinyMerges()) {
    absl::StrAppend(&merges, left, " ", right, "\n");
  }
  std::mt19937 random(5);
  int refused = 0;
  constexpr int kRounds = 2000;
  for (int i = 0; i < kRounds; ++i) {
    const bool in_vocab = i % 2 == 0;
    WriteAll(folder / "vocab.json", in_vocab ? Damage(vocab, random) : vocab);
    WriteAll(folder / "merges.txt", in_vocab ? merges : Damage(merges, random));
    refused += LoadAndUse(folder) ? 0 : 1;
  }
  EXPECT_GT(refused, kRounds / 3);
  EXPECT_LT(refused, kRounds);
}

// Valid text comes back as it was, but for its normalisation; text that is not
// UTF-8 is refused.
TEST(TokenizerFuzz, RandomText) {
  const TempFolder folder;
  WriteAll(folder / "tokenizer.json", TinyTokenizer().dump());
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::mt19937 random(6);
  int valid = 0;
  constexpr int kRounds = 20000;
  for (int i = 0; i < kRounds; ++i) {
    std::string text;
    const size_t size = random() % 60;
    while (text.size() < size) {
      const bool is_ascii = random() % 32 != 0;
      text += static_cast<char>(is_ascii ? random() % 128 : random() % 256);
      if (random() % 8 == 0) text += "\u00e9\u3042\U0001f642";
      if (random() % 16 == 0) text += "<|end|>";
    }
    const auto ids = tokenizer->Encode(text);
    if (!ids.ok()) {
      ExpectOneLine(ids.status());
      continue;
    }
    ++valid;
    const auto back = tokenizer->Decode(*ids);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*tokenizer->Encode(*back), *ids);
  }
  EXPECT_GT(valid, kRounds / 10);
  EXPECT_LT(valid, kRounds);
}

}  // namespace
}  // namespace mkvm::model

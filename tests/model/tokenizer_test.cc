// Ids and text: a tiny tokenizer that is always there, and Qwen3's own files
// with HuggingFace's ids where the shared data is.
#include "model/tokenizer.h"

#include <random>

#include "absl/strings/str_replace.h"
#include "model/utf8.h"
#include "nlohmann/json.hpp"
#include "tests/model/files.h"
#include "tests/model/tiny_tokenizer.h"

namespace mkvm::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using OrderedJson = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

absl::StatusOr<Tokenizer> LoadText(const std::string& text) {
  const TempFolder folder;
  WriteAll(folder / "tokenizer.json", text);
  return Tokenizer::Load(folder.path());
}

Tokenizer Tiny() {
  absl::StatusOr<Tokenizer> tokenizer = LoadText(TinyTokenizer().dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

Ids Encode(const Tokenizer& tokenizer, absl::string_view text,
           bool parse_added = true) {
  const absl::StatusOr<Ids> ids = tokenizer.Encode(text, parse_added);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : Ids();
}

std::string Decode(const Tokenizer& tokenizer, const Ids& ids,
                   bool skip_special = false) {
  const absl::StatusOr<std::string> text = tokenizer.Decode(ids, skip_special);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

// What comes out piece by piece, each of which must be whole characters.
std::string Stream(const Tokenizer& tokenizer, const Ids& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const absl::StatusOr<std::string> piece = decoder.Push(id);
    EXPECT_TRUE(piece.ok()) << piece.status();
    if (!piece.ok()) break;
    EXPECT_EQ(FindInvalidUtf8(*piece), piece->size()) << "half a character";
    text += *piece;
  }
  return text + decoder.Finish();
}

TEST(Encode, MergesByRankFromLeftToRight) {
  const Tokenizer tokenizer = Tiny();
  EXPECT_THAT(Encode(tokenizer, "Hello"), ElementsAre(259));
  EXPECT_THAT(Encode(tokenizer, "Hello world"),
              ElementsAre(259, 260, 261, 'l', 'd'));
  EXPECT_THAT(Encode(tokenizer, "llo"), ElementsAre(256, 'o'));
  EXPECT_THAT(Encode(tokenizer, "aaaaaaa"), ElementsAre(263, 262, 'a'));
  EXPECT_THAT(Encode(tokenizer, ""), IsEmpty());
}

TEST(Encode, LongWordsLikeShortOnes) {
  const Tokenizer tokenizer = Tiny();
  // Twice the length at which the way of merging changes, and far beyond.
  for (const size_t size : {47, 48, 49, 50, 100, 100001}) {
    Ids expected(size / 4, 263);
    if (size % 4 >= 2) expected.push_back(262);
    if (size % 2 == 1) expected.push_back('a');
    EXPECT_EQ(Encode(tokenizer, std::string(size, 'a')), expected) << size;
  }
}

TEST(Encode, NothingCrossesWords) {
  const Tokenizer tokenizer = Tiny();
  // "Ġ" "Ġ" is a merge, but the last space belongs to the word.
  EXPECT_THAT(Encode(tokenizer, "  w"), ElementsAre(' ', 260));
  EXPECT_THAT(Encode(tokenizer, "   w"), ElementsAre(264, 260));
  EXPECT_THAT(Encode(tokenizer, "1l2l"), ElementsAre('1', 'l', '2', 'l'));
}

TEST(Encode, ComposesFirst) {
  const Tokenizer tokenizer = Tiny();
  EXPECT_THAT(Encode(tokenizer, "e\u0301"), ElementsAre(265));
  EXPECT_THAT(Encode(tokenizer, "\u00e9"), ElementsAre(265));
  // Marks are sorted by class: U+0323 goes first, and U+1EB9 U+0301 remains.
  EXPECT_EQ(Encode(tokenizer, "e\u0301\u0323"),
            Encode(tokenizer, "\u1eb9\u0301"));
  // U+07FD has a class since Unicode 11; HuggingFace does not know it.
  EXPECT_EQ(Decode(tokenizer, Encode(tokenizer, "e\u0301\u07fd\u0323")),
            "\u00e9\u07fd\u0323");
}

TEST(Encode, MongolianVowelSeparatorIsNoSpace) {
  const Tokenizer tokenizer = Tiny();
  // As a space it would leave " " to itself: two words, and no merge of them.
  EXPECT_THAT(Encode(tokenizer, "  \u180e"),
              ElementsAre(' ', ' ', 0xe1, 0xa0, 0x8e));
}

TEST(Encode, AddedTokens) {
  const Tokenizer tokenizer = Tiny();
  EXPECT_THAT(Encode(tokenizer, "a<|end|>a<think>"),
              ElementsAre('a', kTinyEnd, 'a', kTinyThink));
  EXPECT_THAT(Encode(tokenizer, "<|end|>>"), ElementsAre(kTinyEndLong))
      << "the longest";
  EXPECT_THAT(Encode(tokenizer, "<<|end|>"), ElementsAre('<', kTinyEnd));
  EXPECT_THAT(Encode(tokenizer, "<|end"), ElementsAre('<', '|', 'e', 'n', 'd'));
  EXPECT_THAT(Encode(tokenizer, "<think>", /*parse_added=*/false),
              ElementsAre('<', 't', 'h', 'i', 'n', 'k', '>'));
  // A mark does not reach over a token.
  EXPECT_THAT(Encode(tokenizer, "<|end|>\u0301"),
              ElementsAre(kTinyEnd, 0xcc, 0x81));
}

TEST(Encode, NormalizedAddedTokenIsFoundInNormalizedText) {
  OrderedJson root = TinyTokenizer();
  root["added_tokens"].push_back(
      {{"id", 300}, {"content", "caf\u00e9"}, {"normalized", true}});
  root["added_tokens"].push_back(
      {{"id", 301}, {"content", "th\u00e9"}, {"normalized", false}});
  const auto tokenizer = LoadText(root.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Encode(*tokenizer, "cafe\u0301"), ElementsAre(300));
  EXPECT_THAT(Encode(*tokenizer, "the\u0301"), ElementsAre('t', 'h', 265));
  EXPECT_EQ(tokenizer->size(), 302);
  EXPECT_FALSE(tokenizer->IsToken(269));
}

TEST(Encode, RefusesWhatIsNotUtf8) {
  const Tokenizer tokenizer = Tiny();
  EXPECT_ERROR(tokenizer.Encode("ab\xff"), kInvalidArgument,
               "the text is not UTF-8 at byte 2 (0xff)");
  for (const char* text : {"\x80", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf0\x80\x80\x80"}) {
    EXPECT_FALSE(tokenizer.Encode(text).ok());
  }
  EXPECT_THAT(Encode(tokenizer, absl::string_view("\0", 1)), ElementsAre(0));
}

TEST(Decode, SpecialAndUnknown) {
  const Tokenizer tokenizer = Tiny();
  const Ids ids = {259, kTinyEnd, kTinyThink};
  EXPECT_EQ(Decode(tokenizer, ids), "Hello<|end|><think>");
  EXPECT_EQ(Decode(tokenizer, ids, /*skip_special=*/true), "Hello<think>");
  EXPECT_ERROR(tokenizer.Decode({269}), kInvalidArgument,
               "id 269 is no token: the tokenizer's are below 269");
  EXPECT_FALSE(tokenizer.Decode({-1}).ok());
  EXPECT_EQ(tokenizer.FindAdded("<|end|>"), kTinyEnd);
  EXPECT_EQ(tokenizer.FindAdded("Hello"), std::nullopt);
  EXPECT_EQ(*tokenizer.NameOf(260), "Ġw");
}

TEST(Decode, ReplacesWhatIsNotUtf8) {
  const Tokenizer tokenizer = Tiny();
  const std::string unknown = "\ufffd";
  const std::vector<std::pair<Ids, std::string>> cases = {
      {{0xe2, 0x82, 0xac}, "\u20ac"},
      {{0xe2, 0x82}, unknown},
      {{0xe2, 0x82, 'a'}, unknown + "a"},
      {{0xe2, 0xe2, 0x82, 0xac}, unknown + "\u20ac"},
      {{0xff, 0x80, 'x'}, unknown + unknown + "x"},
      {{0xed, 0xa0, 0x80}, unknown + unknown + unknown},
      {{0xf0, 0x9f, 0x99, kTinyEnd}, unknown + "<|end|>"},
  };
  for (const auto& [ids, text] : cases) {
    EXPECT_EQ(Decode(tokenizer, ids), text);
    EXPECT_EQ(Stream(tokenizer, ids), text);
  }
}

TEST(StreamDecoder, HoldsBackUntilComplete) {
  const Tokenizer tokenizer = Tiny();
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(*decoder.Push('a'), "a");
  EXPECT_EQ(*decoder.Push(0xf0), "");
  EXPECT_EQ(*decoder.Push(0x9f), "");
  EXPECT_EQ(*decoder.Push(0x99), "");
  EXPECT_FALSE(decoder.Push(1000).ok());
  EXPECT_EQ(*decoder.Push(0x82), "\U0001f642");
  EXPECT_EQ(*decoder.Push(0xe2), "");
  EXPECT_EQ(decoder.Finish(), "\ufffd");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(StreamDecoder, EqualsDecodeOnRandomIds) {
  const Tokenizer tokenizer = Tiny();
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    Ids ids(random() % 12);
    for (int32_t& id : ids) {
      // Mostly the bytes of long characters.
      id = static_cast<int32_t>(random() % 3 == 0 ? random() % 269
                                                  : 0x80 + random() % 0x78);
    }
    EXPECT_EQ(Stream(tokenizer, ids), Decode(tokenizer, ids));
  }
}

TEST(Load, OlderFormsSayTheSame) {
  const OrderedJson root = TinyTokenizer();
  OrderedJson strings = root;
  std::string merges = "#version: 0.2\n";
  strings["model"]["merges"] = OrderedJson::array();
  for (const auto& [left, right] : TinyMerges()) {
    strings["model"]["merges"].push_back(absl::StrCat(left, " ", right));
    absl::StrAppend(&merges, left, " ", right, "\n");
  }
  OrderedJson config;
  for (const OrderedJson& token : root["added_tokens"]) {
    config["added_tokens_decoder"][absl::StrCat(token["id"].get<int>())] =
        token;
  }
  const Tokenizer tokenizer = Tiny();
  const std::string text = "Hello world  aaaa <|end|>e\u0301 DON'T";
  const auto from_strings = LoadText(strings.dump());
  ASSERT_TRUE(from_strings.ok()) << from_strings.status();
  EXPECT_EQ(Encode(*from_strings, text), Encode(tokenizer, text));

  const TempFolder folder;
  WriteAll(folder / "vocab.json", root["model"]["vocab"].dump());
  WriteAll(folder / "tokenizer_config.json", config.dump());
  // With and without the first line, and with Windows' line ends.
  for (const std::string& form :
       {merges, merges.substr(14),
        absl::StrReplaceAll(merges, {{"\n", "\r\n"}})}) {
    WriteAll(folder / "merges.txt", form);
    const auto from_files = Tokenizer::Load(folder.path());
    ASSERT_TRUE(from_files.ok()) << from_files.status();
    EXPECT_EQ(Encode(*from_files, text), Encode(tokenizer, text));
  }
}

TEST(Load, MissingFilesAreNamed) {
  const TempFolder folder;
  const auto message = [&] {
    return std::string(Tokenizer::Load(folder.path()).status().message());
  };
  EXPECT_THAT(message(), HasSubstr("neither tokenizer.json nor vocab.json"));
  WriteAll(folder / "vocab.json", "{}");
  EXPECT_THAT(message(), HasSubstr("merges.txt beside its vocab.json"));
  WriteAll(folder / "merges.txt", "");
  EXPECT_THAT(message(), HasSubstr("vocab.json: not an object from tokens"));
}

// One change of tokenizer.json and what the refusal says.
struct Refusal {
  const char* name;
  const char* pointer;
  const char* value;
  const char* message;
};

class LoadRefusesTest : public testing::TestWithParam<Refusal> {};

TEST_P(LoadRefusesTest, OneClearLine) {
  OrderedJson root = TinyTokenizer();
  root[OrderedJson::json_pointer(GetParam().pointer)] =
      OrderedJson::parse(GetParam().value);
  const auto tokenizer = LoadText(root.dump());
  ASSERT_FALSE(tokenizer.ok());
  const std::string message(tokenizer.status().message());
  EXPECT_THAT(message, HasSubstr("LoadRefusesTest"));  // the folder's name
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, LoadRefusesTest,
    testing::Values(
        Refusal{"Normalizer", "/normalizer/type", R"("NFKC")", "mkvm does NFC"},
        Refusal{"Metaspace", "/pre_tokenizer", R"({"type": "Metaspace"})",
                "Split and ByteLevel"},
        Refusal{"Regex", "/pre_tokenizer/pretokenizers/0/pattern/Regex",
                R"("(a")", "the pattern \"(a\" is wrong"},
        Refusal{"Prefix", "/pre_tokenizer/pretokenizers/1/add_prefix_space",
                "true", "add_prefix_space"},
        Refusal{"Post", "/post_processor", R"({"type": "TemplateProcessing"})",
                "\"post_processor\" is"},
        Refusal{"Decoder", "/decoder", "null", "\"decoder\" is null"},
        Refusal{"Unigram", "/model/type", R"("Unigram")", "mkvm does BPE"},
        Refusal{"Fallback", "/model/byte_fallback", "true", "byte_fallback"},
        Refusal{"VocabType", "/model/vocab", "[]", "not an object"},
        Refusal{"IdType", "/model/vocab/a", R"("1")", "token \"a\" has id"},
        Refusal{"IdNegative", "/model/vocab/a", "-1", "has id -1"},
        Refusal{"IdHuge", "/model/vocab/a", "4000000000", "has id 4000000000"},
        Refusal{"IdTwice", "/model/vocab/a", "98", "id 98 is both"},
        Refusal{"MergeType", "/model/merges/3", "5",
                "\"model.merges\"[3] is 5"},
        Refusal{"MergeText", "/model/merges/3", R"("abc")",
                "\"abc\" is not two tokens"},
        Refusal{"MergeUnknown", "/model/merges/3", R"(["a", "b"])",
                "merge 3 (\"a\" and \"b\"): \"ab\" is not in the vocabulary"},
        Refusal{"AddedType", "/added_tokens", "{}", "not a list"},
        Refusal{"AddedStrip", "/added_tokens/0/lstrip", "true",
                "\"<|end|>\" has \"lstrip\""},
        Refusal{"AddedId", "/added_tokens/0/id", "97", "collides"},
        Refusal{"AddedTwice", "/added_tokens/0/id", "267", "is there twice"}),
    [](const auto& info) { return info.param.name; });

TEST(Load, MissingByteIsNamed) {
  OrderedJson root = TinyTokenizer();
  root["model"]["vocab"].erase("A");
  const auto tokenizer = LoadText(root.dump());
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr("no token for byte 0x41"));
}

class QwenTest : public testing::Test {
 protected:
  void SetUp() override {
    if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
    folder_ = SharedFolder() + "/qwen3";
  }

  void ExpectVectors(const Tokenizer& tokenizer) const {
    int checked = 0;
    for (const char* file : {"vectors.json", "vectors_extra.json"}) {
      const auto vectors =
          OrderedJson::parse(ReadAll(folder_ + "/" + file), nullptr, false);
      for (const OrderedJson& vector : vectors) {
        const auto text = vector["text"].get<std::string>();
        const auto ids = vector["ids"].get<Ids>();
        EXPECT_EQ(Encode(tokenizer, text), ids) << text;
        EXPECT_EQ(Stream(tokenizer, ids), Decode(tokenizer, ids));
        ++checked;
        if (!vector.contains("ids_no_special")) continue;
        EXPECT_EQ(Encode(tokenizer, text, /*parse_added=*/false),
                  vector["ids_no_special"].get<Ids>())
            << text;
      }
    }
    EXPECT_EQ(checked, 99);
    EXPECT_EQ(tokenizer.size(), 151669);
    EXPECT_FALSE(tokenizer.IsToken(151669));
    EXPECT_EQ(Decode(tokenizer, {151645, 151667}, /*skip_special=*/true),
              "<think>");
  }

  std::string folder_;
};

TEST_F(QwenTest, VectorsFromTokenizerJson) {
  const TempFolder alone;
  std::filesystem::copy(folder_ + "/tokenizer.json", alone / "tokenizer.json");
  const auto tokenizer = Tokenizer::Load(alone.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectVectors(*tokenizer);
}

TEST_F(QwenTest, VectorsFromVocabAndMerges) {
  const TempFolder alone;
  std::filesystem::copy(folder_ + "/vocab.json", alone / "vocab.json");
  for (const char* merges : {"/merges.txt", "/variants/merges.noheader.txt"}) {
    std::filesystem::copy(folder_ + merges, alone / "merges.txt",
                          std::filesystem::copy_options::overwrite_existing);
    const auto tokenizer = Tokenizer::Load(alone.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectVectors(*tokenizer);
  }
  std::filesystem::copy(folder_ + "/tokenizer_config.json",
                        alone / "tokenizer_config.json");
  const auto tokenizer = Tokenizer::Load(alone.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectVectors(*tokenizer);
}

TEST_F(QwenTest, EveryTokenHasItsBytes) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  int partial = 0;
  for (int32_t id = 0; id < tokenizer->size(); ++id) {
    ASSERT_TRUE(tokenizer->IsToken(id)) << id;
    const std::string text = Decode(*tokenizer, {id});
    partial += text != *tokenizer->BytesOf(id) ? 1 : 0;
  }
  EXPECT_EQ(partial, 1448);
}

}  // namespace
}  // namespace mkvm::model

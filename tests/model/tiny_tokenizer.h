// A tokenizer of a few hundred tokens, made on the fly: every byte, the merges
// of "Hello world" and what tests add.
#ifndef MKVM_TESTS_MODEL_TINY_TOKENIZER_H_
#define MKVM_TESTS_MODEL_TINY_TOKENIZER_H_

#include <string>
#include <utility>
#include <vector>

#include "model/byte_alphabet.h"
#include "nlohmann/json.hpp"

namespace mkvm::model {

inline constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The first byte's id is 0, the first merge's 256.
inline const std::vector<std::pair<std::string, std::string>>& TinyMerges() {
  static const auto* merges =
      new std::vector<std::pair<std::string, std::string>>{
          {"l", "l"}, {"H", "e"}, {"He", "ll"}, {"Hell", "o"}, {"Ġ", "w"},
          {"o", "r"}, {"a", "a"}, {"aa", "aa"}, {"Ġ", "Ġ"},    {"Ã", "©"},
      };
  return *merges;
}
inline constexpr int kTinyEnd = 266;      // "<|end|>", special
inline constexpr int kTinyThink = 267;    // "<think>", not special
inline constexpr int kTinyEndLong = 268;  // "<|end|>>"

inline nlohmann::ordered_json TinyTokenizer() {
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[BytesToAlphabet(std::string(1, static_cast<char>(byte)))] = byte;
  }
  nlohmann::ordered_json merges = nlohmann::ordered_json::array();
  for (const auto& [left, right] : TinyMerges()) {
    vocab[left + right] = vocab.size();
    merges.push_back({left, right});
  }
  const auto added = [](int id, const char* content, bool special) {
    return nlohmann::ordered_json{{"id", id},
                                  {"content", content},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", special},
                                  {"single_word", false}};
  };
  nlohmann::ordered_json root;
  root["version"] = "1.0";
  root["added_tokens"] = {added(kTinyEnd, "<|end|>", true),
                          added(kTinyThink, "<think>", false),
                          added(kTinyEndLong, "<|end|>>", true)};
  root["normalizer"] = {{"type", "NFC"}};
  root["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"},
                              {"pattern", {{"Regex", kQwenPattern}}},
                              {"behavior", "Isolated"},
                              {"invert", false}},
                             {{"type", "ByteLevel"},
                              {"add_prefix_space", false},
                              {"use_regex", false}}}}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["model"] = {
      {"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", merges}};
  return root;
}

}  // namespace mkvm::model

#endif  // MKVM_TESTS_MODEL_TINY_TOKENIZER_H_

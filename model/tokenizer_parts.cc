#include "model/tokenizer_parts.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/utf8.h"

namespace mkvm::model {
namespace {

absl::Status Bad(absl::string_view what, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", why));
}

std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 60;
  std::string shown = absl::Utf8SafeCHexEscape(text.substr(0, kShown));
  // The cut may have left half a character.
  std::string valid;
  AppendValidUtf8(shown, /*is_end=*/true, &valid);
  return absl::StrCat("\"", valid, text.size() > kShown ? "..." : "", "\"");
}

}  // namespace

absl::Status ReadVocab(const Json& vocab, absl::string_view what,
                       TokenizerSpec& spec) {
  if (!vocab.is_object() || vocab.empty()) {
    return Bad(what, "not an object from tokens to ids");
  }
  spec.ids.reserve(vocab.size());
  absl::flat_hash_map<int32_t, const std::string*> seen;
  seen.reserve(vocab.size());
  for (const auto& [token, value] : vocab.items()) {
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id < 0 || id >= kMaxTokens) {
      return Bad(what,
                 absl::StrFormat("token %s has id %s, which is not in "
                                 "0..%d",
                                 Shown(token), Brief(value), kMaxTokens - 1));
    }
    const auto [it, is_new] = seen.emplace(static_cast<int32_t>(id), &token);
    if (!is_new) {
      return Bad(what, absl::StrFormat("id %d is both %s and %s", id,
                                       Shown(*it->second), Shown(token)));
    }
    spec.ids.emplace(token, static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status AddMerge(absl::string_view text, absl::string_view what,
                      TokenizerSpec& spec) {
  const size_t space = text.find(' ');
  if (space == absl::string_view::npos || space == 0 ||
      space + 1 == text.size() ||
      text.find(' ', space + 1) != absl::string_view::npos) {
    return Bad(what, absl::StrCat(Shown(text),
                                  " is not two tokens with a space between"));
  }
  spec.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  return absl::OkStatus();
}

absl::Status AddAddedToken(const Json& token, int64_t id,
                           absl::string_view what, TokenizerSpec& spec) {
  const auto content = token.is_object() ? token.find("content") : token.end();
  if (!token.is_object() || content == token.end() || !content->is_string()) {
    return Bad(what, "an added token is no object with a \"content\"");
  }
  AddedToken added;
  added.content = content->get<std::string>();
  if (id < 0 || id >= kMaxTokens) {
    return Bad(what, absl::StrFormat("added token %s has no id in 0..%d",
                                     Shown(added.content), kMaxTokens - 1));
  }
  added.id = static_cast<int32_t>(id);
  bool ignored = false;
  const std::pair<absl::string_view, bool*> flags[] = {
      {"special", &added.is_special}, {"normalized", &added.is_normalized},
      {"lstrip", &ignored},           {"rstrip", &ignored},
      {"single_word", &ignored},
  };
  for (const auto& [name, place] : flags) {
    const auto it = token.find(std::string(name));
    if (it == token.end()) continue;
    if (!it->is_boolean()) {
      return Bad(what, absl::StrFormat("added token %s: \"%s\" is %s, not true "
                                       "or false",
                                       Shown(added.content), name, Brief(*it)));
    }
    *place = it->get<bool>();
    if (ignored) {
      return Bad(what, absl::StrFormat("added token %s has \"%s\", which mkvm "
                                       "does not do",
                                       Shown(added.content), name));
    }
  }
  spec.added.push_back(std::move(added));
  return absl::OkStatus();
}

absl::Status CheckAdded(const TokenizerSpec& spec, absl::string_view what) {
  absl::flat_hash_set<int32_t> plain_ids;
  plain_ids.reserve(spec.ids.size());
  for (const auto& [token, id] : spec.ids) plain_ids.insert(id);
  absl::flat_hash_set<int32_t> ids;
  absl::flat_hash_set<absl::string_view> contents;
  for (const AddedToken& token : spec.added) {
    if (!ids.insert(token.id).second ||
        !contents.insert(token.content).second) {
      return Bad(what, absl::StrFormat("added token %s, id %d, is there twice",
                                       Shown(token.content), token.id));
    }
    const auto it = spec.ids.find(token.content);
    const bool is_same = it != spec.ids.end() && it->second == token.id;
    if (!is_same && (it != spec.ids.end() || plain_ids.contains(token.id))) {
      return Bad(what, absl::StrFormat("added token %s, id %d, collides with "
                                       "the vocabulary",
                                       Shown(token.content), token.id));
    }
  }
  return absl::OkStatus();
}

}  // namespace mkvm::model

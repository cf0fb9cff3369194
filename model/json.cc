#include "model/json.h"

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::model {
namespace {

constexpr size_t kMaxDepth = 64;

// Builds the tree event by event, which is what gives a byte position without
// exceptions and a chance to see repeated keys.
template <typename AnyJson>
class Builder : public nlohmann::json_sax<AnyJson> {
 public:
  using number_integer_t = typename AnyJson::number_integer_t;
  using number_unsigned_t = typename AnyJson::number_unsigned_t;
  using number_float_t = typename AnyJson::number_float_t;
  using string_t = typename AnyJson::string_t;
  using binary_t = typename AnyJson::binary_t;

  explicit Builder(absl::string_view text) : text_(text) {}

  bool null() override { return Put(AnyJson()); }
  bool boolean(bool value) override { return Put(AnyJson(value)); }
  bool number_integer(number_integer_t value) override {
    return Put(AnyJson(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Put(AnyJson(value));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if constexpr (std::is_same_v<AnyJson, OrderedJson>) {
      // nlohmann hands over here what is too large for an integer, too.
      if (text.find_first_of(".eE") == string_t::npos) {
        return Put(AnyJson::binary({text.begin(), text.end()}));
      }
    }
    return Put(AnyJson(value));
  }
  bool string(string_t& value) override {
    return Put(AnyJson(std::move(value)));
  }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool start_object(size_t) override { return Open(AnyJson::object()); }
  bool start_array(size_t) override { return Open(AnyJson::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& value) override {
    if (open_.back()->contains(value)) {
      return Fail(absl::StrFormat("the key \"%s\" occurs twice",
                                  absl::CHexEscape(value)));
    }
    keys_.back() = std::move(value);
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    if (position > text_.size()) {
      error_ = absl::StrFormat("byte %d: the text ends in the middle",
                               text_.size() + 1);
    } else {
      error_ = absl::StrFormat("byte %d: not JSON near \"%s\"", position,
                               Excerpt(position));
    }
    return false;
  }

  const std::string& error() const { return error_; }
  AnyJson TakeRoot() { return std::move(root_); }

 private:
  // The bytes up to and with `position`, counted from 1. Control and non-ASCII
  // bytes are not for terminals.
  std::string Excerpt(size_t position) const {
    constexpr size_t kShown = 16;
    const size_t begin = position < kShown ? 0 : position - kShown;
    std::string shown(text_.substr(begin, position - begin));
    for (char& c : shown) {
      if (c < 0x20 || c >= 0x7f) c = '?';
    }
    return shown;
  }

  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  AnyJson* Attach(AnyJson value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    AnyJson& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[keys_.back()] = std::move(value));
  }

  bool Put(AnyJson value) {
    Attach(std::move(value));
    return true;
  }

  // A container's address is stable while it is open: its parent gets no new
  // member until it is closed.
  bool Open(AnyJson container) {
    if (open_.size() == kMaxDepth) {
      return Fail(absl::StrFormat("nested deeper than %d", kMaxDepth));
    }
    open_.push_back(Attach(std::move(container)));
    keys_.emplace_back();
    return true;
  }

  bool Close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  absl::string_view text_;
  AnyJson root_;
  std::vector<AnyJson*> open_;
  std::vector<std::string> keys_;  // the key that each open object is at
  std::string error_;
};

template <typename AnyJson>
absl::StatusOr<AnyJson> Parse(absl::string_view text, absl::string_view what) {
  // nlohmann's lexer takes a NUL for the end of the text.
  const size_t nul = text.find('\0');
  if (nul != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: byte %d: a NUL byte in JSON", what, nul + 1));
  }
  Builder<AnyJson> builder(text);
  const char* data = text.data();
  if (!AnyJson::sax_parse(data, data + text.size(), &builder)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", builder.error()));
  }
  return builder.TakeRoot();
}

template <typename AnyJson>
std::string BriefText(const AnyJson& value) {
  // Bytes that are not UTF-8 can't be here (the parser refuses them), but
  // replace rather than abort should that change.
  std::string text =
      value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  constexpr size_t kShown = 60;
  if (text.size() > kShown) text = text.substr(0, kShown - 3) + "...";
  return text;
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what) {
  return Parse<Json>(text, what);
}

absl::StatusOr<OrderedJson> ParseOrderedJson(absl::string_view text,
                                             absl::string_view what) {
  return Parse<OrderedJson>(text, what);
}

std::string Brief(const Json& value) { return BriefText(value); }
std::string Brief(const OrderedJson& value) { return BriefText(value); }

}  // namespace mkvm::model

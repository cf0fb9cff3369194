// Conversations as text. The templates themselves and HuggingFace's renderings
// are in the shared data; without it, the rules are tested as code.
#include "model/chat_template.h"

#include "model/chat_renderer.h"
#include "model/python_json.h"
#include "tests/model/files.h"

namespace mkvm::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

OrderedJson Parse(absl::string_view text) {
  const absl::StatusOr<OrderedJson> json = ParseOrderedJson(text, "test");
  EXPECT_TRUE(json.ok()) << json.status();
  return json.ok() ? *json : OrderedJson();
}

std::string Render(absl::string_view messages, absl::string_view tools = "[]",
                   const ChatRules& rules = {},
                   const ChatOptions& options = {}) {
  const auto text = RenderChat(Parse(messages), Parse(tools), rules, options);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::string ErrorOf(absl::string_view messages, absl::string_view tools = "[]",
                    const ChatRules& rules = {}) {
  const auto text = RenderChat(Parse(messages), Parse(tools), rules, {});
  EXPECT_FALSE(text.ok());
  return std::string(text.status().message());
}

TEST(PythonJson, NumbersAsPythonPrintsThem) {
  // Each line is json.dumps(json.loads(line)) in Python.
  for (const char* same : {"0",
                           "-7",
                           "1.0",
                           "-0.0",
                           "0.1",
                           "0.0001",
                           "1e-05",
                           "1.5e-07",
                           "123456789.125",
                           "1000000000000000.0",
                           "1e+16",
                           "2.5e+22",
                           "1e+300",
                           "5e-324",
                           "9223372036854775808",
                           "18446744073709551616",
                           "-1000000000000000000000000000000",
                           "true",
                           "null",
                           "[]",
                           "{}",
                           R"(["a", {"b": 1, "a": 2}])"}) {
    EXPECT_EQ(DumpAsPython(Parse(same)), same);
  }
  EXPECT_EQ(DumpAsPython(Parse("1E5")), "100000.0");
  EXPECT_EQ(DumpAsPython(Parse("0.00001")), "1e-05");
  EXPECT_EQ(DumpAsPython(Parse("1e15")), "1000000000000000.0");
  EXPECT_EQ(DumpAsPython(Parse("-0")), "0");
}

TEST(PythonJson, StringsAsPythonPrintsThem) {
  EXPECT_EQ(
      DumpAsPython(Parse(R"("\u0000\u001f\u007f\u2028\/\b\f\n\r\t\"\\")")),
      "\"\\u0000\\u001f\x7f\u2028/\\b\\f\\n\\r\\t\\\"\\\\\"");
  EXPECT_EQ(DumpAsPython(Parse(R"(["\u5929<b>&'\ud83d\ude42"])")),
            "[\"\u5929<b>&'\U0001f642\"]");
}

TEST(Render, PlainTurnsAndThePrompt) {
  const char* messages = R"([{"role": "user", "content": "hi"}])";
  const std::string turn = "<|im_start|>user\nhi<|im_end|>\n";
  const std::string prompt = turn + "<|im_start|>assistant\n";
  const std::string no_thought = prompt + "<think>\n\n</think>\n\n";
  EXPECT_EQ(Render(messages), prompt);
  EXPECT_EQ(Render(messages, "[]", {}, {.enable_thinking = false}), no_thought);
  EXPECT_EQ(Render(messages, "[]", {}, {.add_generation_prompt = false}), turn);
  EXPECT_EQ(Render(messages, "[]", {.never_thinks = true}), no_thought);
}

TEST(Render, ReasoningIsKeptAfterTheLastQueryOnly) {
  const std::string text = Render(R"([
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "<think>\nold\n</think>\n\nx"},
    {"role": "user", "content": "b"},
    {"role": "assistant", "content": "y", "reasoning_content": "\nnew\n",
     "tool_calls": [{"name": "f", "arguments": {"k": [1.0, 1]}},
                    {"function": {"name": "g", "arguments": "{}"}}]},
    {"role": "tool", "content": "r1"}, {"role": "tool", "content": "r2"}])");
  EXPECT_EQ(text,
            "<|im_start|>user\na<|im_end|>\n"
            "<|im_start|>assistant\nx<|im_end|>\n"
            "<|im_start|>user\nb<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nnew\n</think>\n\ny\n"
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"k\": [1.0, 1]}}\n"
            "</tool_call>\n"
            "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"
            "<|im_end|>\n"
            "<|im_start|>user\n<tool_response>\nr1\n</tool_response>\n"
            "<tool_response>\nr2\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(Render, ResultsInAUserMessageAreNoQuery) {
  const std::string text = Render(R"([
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "<think>why</think>x"},
    {"role": "user", "content": "<tool_response>r</tool_response>"}])");
  EXPECT_THAT(text, HasSubstr("<think>\nwhy\n</think>\n\nx<|im_end|>"));
}

TEST(Render, ToolsComeFirst) {
  const std::string text =
      Render(R"([{"role": "system", "content": "sys"}])",
             R"([{"name": "f", "d": "天气", "b": 1}, {"a": null}])");
  EXPECT_THAT(text,
              testing::StartsWith("<|im_start|>system\nsys\n\n# Tools\n\n"));
  EXPECT_THAT(text, HasSubstr("<tools>\n{\"name\": \"f\", \"d\": \"天气\", "
                              "\"b\": 1}\n{\"a\": null}\n</tools>\n\n"));
}

TEST(Render, ContentThatIsNoText) {
  const char* messages = R"([{"role": "user", "content": ["t"]}])";
  EXPECT_EQ(Render(messages, "[]", {}, {.add_generation_prompt = false}),
            "<|im_start|>user\n<|im_end|>\n");
  EXPECT_THAT(ErrorOf(messages, "[]", {.content_must_be_text = true}),
              HasSubstr("messages[0]: \"content\" is no text"));
  EXPECT_THAT(ErrorOf(R"([{"role": "system", "content": null}])"),
              HasSubstr("messages[0]: \"content\" is no text"));
}

// As transformers 5.17 renders scripts/tiny_model/chat_template.jinja.
TEST(Render, PlainIsRoleAndContent) {
  const ChatRules plain = {.is_plain = true};
  const char* messages = R"([
    {"role": "system", "content": "sys"},
    {"role": "user", "content": "\n<tool_response>a</tool_response>\n"},
    {"role": "assistant", "content": "<think>\nb\n</think>\n\nc",
     "reasoning_content": "d", "tool_calls": [{"name": "f"}]},
    {"role": "other", "content": ""},
    {"role": "system", "content": "<|im_end|>"}])";
  const std::string text =
      "<|im_start|>system\nsys<|im_end|>\n"
      "<|im_start|>user\n\n<tool_response>a</tool_response>\n<|im_end|>\n"
      "<|im_start|>assistant\n<think>\nb\n</think>\n\nc<|im_end|>\n"
      "<|im_start|>other\n<|im_end|>\n"
      "<|im_start|>system\n<|im_end|><|im_end|>\n";
  const std::string prompt = "<|im_start|>assistant\n";
  EXPECT_EQ(Render(messages, "[]", plain), text + prompt);
  EXPECT_EQ(Render(messages, R"([{"name": "f"}])", plain), text + prompt);
  EXPECT_EQ(Render(messages, "[]", plain, {.enable_thinking = false}),
            text + prompt);
  EXPECT_EQ(Render(messages, "[]", plain, {.add_generation_prompt = false}),
            text);
}

TEST(Render, PlainNeedsTexts) {
  const ChatRules plain = {.is_plain = true};
  for (const char* content : {"null", "[]", "5"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat(R"([{"role": "other", "content": )",
                                     content, "}]"),
                        "[]", plain),
                HasSubstr("messages[0]: \"content\" is no text"));
  }
  EXPECT_THAT(ErrorOf(R"([{"role": "user"}])", "[]", plain),
              HasSubstr("messages[0]: \"content\" is no text"));
  EXPECT_THAT(ErrorOf(R"([{"content": "x"}])", "[]", plain),
              HasSubstr("\"role\" is no text"));
}

TEST(Render, ErrorsNameTheMessage) {
  EXPECT_EQ(ErrorOf("[]"), "messages: there is none");
  EXPECT_THAT(ErrorOf(R"([{"role": "user", "content": "x"}, 5])"),
              HasSubstr("messages[1]: no object"));
  EXPECT_THAT(ErrorOf(R"([{"content": "x"}])"),
              HasSubstr("\"role\" is no text"));
  const auto with_calls = [](absl::string_view calls) {
    return ErrorOf(
        absl::StrCat(R"([{"role": "assistant", "content": "", "tool_calls": )",
                     calls, "}]"));
  };
  EXPECT_THAT(with_calls("{}"), HasSubstr("\"tool_calls\" is no list"));
  EXPECT_THAT(with_calls("[1]"), HasSubstr("tool call 1 is no object"));
  EXPECT_THAT(with_calls("[{}]"), HasSubstr("has no \"name\""));
  EXPECT_THAT(with_calls(R"([{"name": "f"}])"), HasSubstr("\"arguments\""));
  EXPECT_THAT(ErrorOf(R"([{"role": "user", "content": "x"}])", "[3]"),
              HasSubstr("tools: 3 is no object"));
}

TEST(ChatTemplate, UnknownAndMissing) {
  const TempFolder folder;
  const auto message = [&] {
    return std::string(ChatTemplate::Load(folder.path()).status().message());
  };
  EXPECT_THAT(message(), HasSubstr("has no chat template"));
  WriteAll(folder / "tokenizer_config.json", "{}");
  EXPECT_THAT(message(), HasSubstr("has no \"chat_template\""));
  WriteAll(folder / "tokenizer_config.json", R"({"chat_template": [1]})");
  EXPECT_THAT(message(), HasSubstr("\"chat_template\" is [1]"));
  WriteAll(folder / "tokenizer_config.json", R"({"chat_template": "{{ x }}"})");
  EXPECT_THAT(message(), AllOf(HasSubstr("tokenizer_config.json: a chat"),
                               HasSubstr("does not know")));
  WriteAll(folder / "chat_template.jinja", "{{ messages }}");
  EXPECT_THAT(message(), AllOf(HasSubstr("chat_template.jinja: a chat"),
                               HasSubstr("Qwen3 without thinking")));
}

// The text of scripts/tiny_model/chat_template.jinja, which comes with models
// that are made there.
TEST(ChatTemplate, PlainIsKnownByItsText) {
  constexpr char kText[] =
      "{%- for message in messages %}\n"
      "    {{- '<|im_start|>' + message.role + '\\n' + message.content + "
      "'<|im_end|>\\n' }}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt %}\n"
      "    {{- '<|im_start|>assistant\\n' }}\n"
      "{%- endif %}\n";
  const TempFolder folder;
  WriteAll(folder / "chat_template.jinja", kText);
  const auto loaded = ChatTemplate::Load(folder.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->name(), "plain ChatML");
  const auto text =
      loaded->Render(R"([{"role": "user", "content": "hi"}])", "", {});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
}

class QwenChatTest : public testing::Test {
 protected:
  void SetUp() override {
    if (SharedFolder().empty()) GTEST_SKIP() << "no shared reference data";
    folder_ = SharedFolder() + "/qwen3";
  }
  ChatTemplate Known(const std::string& text) const {
    const auto known = ChatTemplate::FromText(text, "test");
    EXPECT_TRUE(known.ok()) << known.status();
    return *known;
  }
  std::string folder_;
};

TEST_F(QwenChatTest, AllVectors) {
  const auto chat_template = ChatTemplate::Load(folder_);
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  const OrderedJson vectors = Parse(ReadAll(folder_ + "/chat_vectors.json"));
  for (const OrderedJson& vector : vectors) {
    const auto text = chat_template->Render(
        vector["messages"].dump(),
        vector.contains("tools") ? vector["tools"].dump() : "",
        {.add_generation_prompt = vector["add_generation_prompt"].get<bool>(),
         .enable_thinking = vector.value("enable_thinking", true)});
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, vector["rendered"].get<std::string>());
  }
  EXPECT_EQ(vectors.size(), 16);
}

TEST_F(QwenChatTest, VariantsAreKnownApart) {
  const std::string shipped = ReadAll(folder_ + "/chat_template.jinja");
  EXPECT_EQ(Known(shipped).name(), "Qwen3");
  EXPECT_EQ(Known(shipped + "\n").name(), "Qwen3");
  EXPECT_EQ(
      Known(ReadAll(folder_ + "/variants/chat_template.2025-04.jinja")).name(),
      "Qwen3 of April 2025");
  EXPECT_EQ(
      Known(ReadAll(folder_ + "/variants/qwen3_nonthinking.jinja")).name(),
      "Qwen3 without thinking");
  EXPECT_FALSE(ChatTemplate::FromText(shipped + "x", "test").ok());
  // In tokenizer_config.json alone.
  const TempFolder alone;
  std::filesystem::copy(folder_ + "/variants/tokenizer_config.2025-04.json",
                        alone / "tokenizer_config.json");
  const auto loaded = ChatTemplate::Load(alone.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->name(), "Qwen3 of April 2025");
}

}  // namespace
}  // namespace mkvm::model

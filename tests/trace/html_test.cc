#include "trace/html.h"

#include <cstring>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/trace/synthetic.h"

namespace mkvm::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

std::string Convert(const Trace& trace) {
  const Dependencies dependencies(trace);
  return ToHtml(dependencies, FindCriticalPath(dependencies));
}

// What stands between the data's element and its end, as a browser finds it.
Json Data(absl::string_view page) {
  constexpr absl::string_view kOpen =
      "<script type=\"application/json\" id=\"trace-data\">";
  const size_t begin = page.find(kOpen) + kOpen.size();
  const size_t end = page.find("</script", begin);
  return Json::parse(std::string(page.substr(begin, end - begin)), nullptr,
                     /*allow_exceptions=*/false);
}

template <typename T>
std::vector<T> Array(const Json& base64) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(base64.get<std::string>(), &bytes));
  std::vector<T> values(bytes.size() / sizeof(T));
  EXPECT_EQ(bytes.size(), values.size() * sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

size_t Count(absl::string_view text, absl::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != absl::string_view::npos;
       at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

TEST(HtmlTest, HoldsTheTrace) {
  const Json data = Data(Convert(TinyTrace("")));
  ASSERT_TRUE(data.is_object());
  const Json& events = data["events"];
  EXPECT_EQ(events["count"], 3);
  EXPECT_THAT(Array<uint32_t>(events["row_begin"]), ElementsAre(0, 2, 3));
  EXPECT_THAT(Array<double>(events["begin"]), ElementsAre(0, 1300, 300));
  EXPECT_THAT(Array<int32_t>(events["at"]),
              ElementsAre(0, 100, 100, 100, 100, 1100, 1200,  //
                          0, 100, 100, 100, 100, 700, 800,    //
                          2300, 2600, 2650, 2700, 2900, 3700, 3800));
  EXPECT_THAT(Array<int32_t>(events["fetched"]),
              ElementsAre(INT32_MIN, INT32_MIN, -290));
  EXPECT_THAT(Array<int32_t>(events["load_end"]),
              ElementsAre(INT32_MIN, INT32_MIN, 200));
  EXPECT_THAT(Array<double>(events["bytes"]), ElementsAre(0, 0, 3000));
  EXPECT_THAT(Array<int8_t>(events["last_wait"]), ElementsAre(-1, -1, 1));
  // Its two waits: the first producer's signal, the second one's data.
  EXPECT_THAT(Array<uint32_t>(events["producer"]), ElementsAre(0, 1));
  EXPECT_THAT(Array<int32_t>(events["publish"]), ElementsAre(900, 1700));
  const Json& instructions = data["instructions"];
  EXPECT_THAT(Array<uint8_t>(instructions["wait_flags"]), ElementsAre(0, 1));
  EXPECT_THAT(Array<uint32_t>(instructions["wait_begin"]),
              ElementsAre(0, 0, 0, 2));
  std::string text;
  const auto ids = Array<uint32_t>(instructions["text"]);
  for (size_t i = Array<uint32_t>(instructions["text_begin"])[2];
       i < ids.size(); ++i) {
    text += instructions["words"][ids[i]].get<std::string>() + " ";
  }
  EXPECT_EQ(text, "nop wait(c, d tagged) ");
  const Json& token = data["path"]["tokens"][0];
  EXPECT_THAT(Array<uint32_t>(token["events"]), ElementsAre(0, 1, 2));
  EXPECT_THAT(Array<uint8_t>(token["is_hop"]), ElementsAre(0, 0, 1));
}

TEST(HtmlTest, LoadsNothing) {
  const std::string page = Convert(TinyTrace(""));
  EXPECT_THAT(page, Not(HasSubstr("http:")));
  EXPECT_THAT(page, Not(HasSubstr("https:")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
  EXPECT_THAT(page, Not(HasSubstr("import(")));
  EXPECT_THAT(page, Not(HasSubstr("fetch(")));
  EXPECT_THAT(page, Not(HasSubstr("XMLHttpRequest")));
  EXPECT_FALSE(
      std::regex_search(page, std::regex(R"(<(script|img)[^>]* src)")));
  EXPECT_EQ(Count(page, "<link"), 1u);  // the empty icon
  EXPECT_THAT(page, HasSubstr("<link rel=\"icon\" href=\"data:,\">"));
  for (const char* place : {"@style@", "@script@", "@data@", "@title@"}) {
    EXPECT_THAT(page, Not(HasSubstr(place)));
  }
}

TEST(HtmlTest, EscapesNames) {
  const size_t elements = Count(Convert(TinyTrace("")), "<");
  for (const std::string label :
       {"</script><b>", "<!--<script>", "\"quoted\" & 'so'", "a\\b\n\t\x01",
        "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", "@data@ @script@", "]]>",
        "\xe2\x80\xa8"}) {
    const std::string page = Convert(TinyTrace(label));
    // Not one element more.
    EXPECT_EQ(Count(page, "<"), elements) << label;
    const Json data = Data(page);
    ASSERT_TRUE(data.is_object()) << label;
    EXPECT_EQ(data["about"]["program"], label);
    EXPECT_EQ(data["instructions"]["labels"][2], label);
    EXPECT_EQ(data["counters"][0], "c" + label);
  }
  // No UTF-8: the rest can be read.
  EXPECT_TRUE(Data(Convert(TinyTrace("\xff<\xc3")))["events"].is_object());
}

TEST(HtmlTest, TakesTracesWithLittleInThem) {
  Json data = Data(Convert(Trace()));
  EXPECT_EQ(data["events"]["count"], 0);
  EXPECT_THAT(Array<uint32_t>(data["events"]["row_begin"]), ElementsAre(0));
  Trace trace = TinyTrace("");
  trace.events.erase(trace.events.begin(), trace.events.begin() + 2);
  data = Data(Convert(trace));
  EXPECT_EQ(data["events"]["count"], 1);
  EXPECT_THAT(Array<uint32_t>(data["events"]["row_begin"]),
              ElementsAre(0, 0, 1));
  EXPECT_THAT(Array<uint32_t>(data["events"]["producer"]),
              ElementsAre(kNoEvent, kNoEvent));
}

TEST(HtmlTest, TakesFewBytesPerEvent) {
  const Trace one = TinyTrace("");
  Trace many = one;
  for (uint32_t pass = 1; pass < 1000; ++pass) {
    for (Event event : one.events) {
      event.pass = pass;
      for (Nanos* time : {&event.visited, &event.waited, &event.ready,
                          &event.done, &event.signaled}) {
        *time += Nanos{5000} * pass;
      }
      many.events.push_back(event);
    }
  }
  Normalize(many);
  const size_t events = many.events.size() - one.events.size();
  // The critical path (all of these are on it) and the rate are in this.
  EXPECT_LT((Convert(many).size() - Convert(one).size()) / events, 300);
}

}  // namespace
}  // namespace mkvm::trace

#include "model/json.h"

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<Json> json = ParseJson(text, "f");
  return std::string(json.status().message());
}

TEST(ParseJsonTest, EveryKindOfValue) {
  const absl::StatusOr<Json> json =
      ParseJson(R"( {"a":[1,-2,3.5,true,null,"x",{}],"b":{"c":[]}} )", "f");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->dump(), R"({"a":[1,-2,3.5,true,null,"x",{}],"b":{"c":[]}})");
}

TEST(ParseJsonTest, AScalarIsADocument) {
  const absl::StatusOr<Json> json = ParseJson("17", "f");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(*json, Json(17));
}

TEST(ParseJsonTest, ErrorsSayWhere) {
  EXPECT_EQ(ErrorOf(""), "f: byte 1: the text ends in the middle");
  EXPECT_EQ(ErrorOf("{\"a\": 1"), "f: byte 8: the text ends in the middle");
  EXPECT_EQ(ErrorOf("{\"a\": nil}"), "f: byte 8: not JSON near \"{\"a\": ni\"");
  EXPECT_EQ(ErrorOf("{} {}"), "f: byte 4: not JSON near \"{} {\"");
  EXPECT_EQ(ErrorOf("[1,]"), "f: byte 4: not JSON near \"[1,]\"");
  EXPECT_EQ(ErrorOf("[1e999]"), "f: byte 6: not JSON near \"[1e999\"");
}

TEST(ParseJsonTest, ControlBytesStayOutOfMessages) {
  EXPECT_EQ(ErrorOf("[\"a\x1b[31m\"]"), "f: byte 4: not JSON near \"[\"a?\"");
}

TEST(ParseJsonTest, RepeatedKey) {
  EXPECT_EQ(ErrorOf(R"({"a":1,"b":2,"a":3})"), "f: the key \"a\" occurs twice");
  // One key in two objects is no repetition.
  EXPECT_TRUE(ParseJson(R"({"a":{"a":1},"b":{"a":2}})", "f").ok());
}

TEST(ParseJsonTest, NulByte) {
  EXPECT_EQ(ErrorOf(absl::string_view("{}\0{}", 5)),
            "f: byte 3: a NUL byte in JSON");
}

TEST(ParseJsonTest, Depth) {
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']'), "f").ok());
  EXPECT_EQ(ErrorOf(std::string(65, '[') + std::string(65, ']')),
            "f: nested deeper than 64");
  EXPECT_EQ(ErrorOf(std::string(1000000, '[')), "f: nested deeper than 64");
}

TEST(BriefTest, CutsLongValues) {
  EXPECT_EQ(Brief(Json("x")), "\"x\"");
  EXPECT_EQ(Brief(Json(std::string(100, 'x'))),
            "\"" + std::string(56, 'x') + "...");
}

}  // namespace
}  // namespace mkvm::model

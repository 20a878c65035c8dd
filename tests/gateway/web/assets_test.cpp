// The page's files, as compiled into the program.

#include "gateway/web/assets.hpp"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace backplane::gateway::web {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Decompresses gzip; empty if `compressed` is no gzip.
std::string inflated(std::string_view compressed, std::size_t size) {
  std::string out(size + 1, '\0');
  z_stream stream{};
  constexpr int gzip_alone = 15 + 16;
  EXPECT_EQ(inflateInit2(&stream, gzip_alone), Z_OK);
  std::string input(compressed);  // zlib takes a pointer to mutable bytes
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = inflate(&stream, Z_FINISH);
  out.resize(end == Z_STREAM_END ? stream.total_out : 0);
  inflateEnd(&stream);
  return out;
}

std::string file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

TEST(Assets, EveryFileOfThePageIsServedUnchanged) {
  const std::filesystem::path folder = BACKPLANE_PAGE_DIR;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const Asset* const asset = find_asset(name == "index.html" ? "/" : "/" + name);
    ASSERT_NE(asset, nullptr) << name << " is missing from page_files in gateway/web/CMakeLists.txt";
    EXPECT_EQ(asset->body, file(entry.path())) << name;
    ++files;
  }
  EXPECT_GT(files, 20U);
}

TEST(Assets, EveryAssetIsFoundByItsPath) {
  ASSERT_FALSE(assets().empty());
  for (const Asset& asset : assets()) EXPECT_EQ(find_asset(asset.path), &asset) << asset.path;
}

TEST(Assets, AnUnknownPathIsNull) {
  for (const std::string_view path : {"", "app.js", "/app.js/", "/APP.JS", "/no-such", "/../app.js", "//"}) {
    EXPECT_EQ(find_asset(path), nullptr) << path;
  }
}

TEST(Assets, TheCompressedFormDecompressesToTheBody) {
  for (const Asset& asset : assets()) {
    EXPECT_EQ(inflated(asset.gzip, asset.body.size()), asset.body) << asset.path;
  }
}

TEST(Assets, EachContentHasItsOwnQuotedETag) {
  std::set<std::string_view> tags;
  for (const Asset& asset : assets()) {
    EXPECT_THAT(std::string(asset.etag), testing::MatchesRegex("\"[0-9a-f]+\"")) << asset.path;
    EXPECT_TRUE(tags.insert(asset.etag).second) << asset.path;
  }
}

TEST(Assets, ContentTypesAreThoseThatBrowsersExpect) {
  const auto type = [](std::string_view path) {
    const Asset* const asset = find_asset(path);
    return std::string(asset == nullptr ? "none" : asset->content_type);
  };
  EXPECT_EQ(type("/"), "text/html; charset=utf-8");
  EXPECT_EQ(type("/app.js"), "text/javascript; charset=utf-8");
  EXPECT_EQ(type("/vendor/uPlot.esm.js"), "text/javascript; charset=utf-8");
  EXPECT_EQ(type("/page.css"), "text/css; charset=utf-8");
  EXPECT_EQ(type("/favicon.svg"), "image/svg+xml");
}

TEST(Assets, TheLicenceOfTheChartLibraryIsServed) {
  const Asset* const licence = find_asset("/vendor/uPlot.LICENSE.txt");
  ASSERT_NE(licence, nullptr);
  EXPECT_THAT(std::string(licence->body), HasSubstr("MIT License"));
  EXPECT_THAT(std::string(find_asset("/")->body), HasSubstr("vendor/uPlot.LICENSE.txt"));
}

// The page's Content-Security-Policy forbids inline scripts and styles, and requests to other hosts.
TEST(Assets, ThePageHasNoInlineScriptOrStyleAndNamesNoOtherHost) {
  const std::string page(find_asset("/")->body);
  EXPECT_THAT(page, Not(HasSubstr("<style")));
  EXPECT_THAT(page, Not(HasSubstr(" style=")));
  EXPECT_THAT(page, Not(HasSubstr("://")));
  EXPECT_THAT(page, Not(testing::ContainsRegex("<script[^>]*>[^<]")));
  EXPECT_THAT(page, Not(testing::ContainsRegex(" on[a-z]+=")));
  const std::string style(find_asset("/page.css")->body);
  EXPECT_THAT(style, Not(HasSubstr("url(")));
  EXPECT_THAT(style, Not(HasSubstr("@import")));
}

TEST(Assets, NoModuleParsesTextAsHtml) {
  for (const Asset& asset : assets()) {
    if (asset.path.starts_with("/vendor/") || !asset.path.ends_with(".js")) continue;
    for (const char* word : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("}) {
      EXPECT_THAT(std::string(asset.body), Not(HasSubstr(word))) << asset.path;
    }
  }
}

}  // namespace
}  // namespace backplane::gateway::web

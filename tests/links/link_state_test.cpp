#include "links/link_state.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace backplane::links {
namespace {

class LinkStateFileTest : public ::testing::Test {
 protected:
  LinkStateFileTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
  }
  ~LinkStateFileTest() override { std::filesystem::remove_all(folder_); }
  LinkStateFileTest(const LinkStateFileTest&) = delete;
  LinkStateFileTest& operator=(const LinkStateFileTest&) = delete;

  std::filesystem::path folder_;
};

TEST_F(LinkStateFileTest, WhatIsSavedIsLoadedByTheNextProcess) {
  LinkState state;
  state.sources[0xab] = {.stream = 0x000000ab'00000001, .position = 17, .session = 0xcd, .sequence = 34};
  state.to = 0xef;
  state.targets = {1, 0xffff'ffff};
  {
    const auto file = LinkStateFile::open(folder_, "link");
    ASSERT_TRUE(file) << file.error().text;
    EXPECT_EQ(file->loaded(), LinkState{});
    ASSERT_TRUE(file->save(state));
  }
  const auto file = LinkStateFile::open(folder_, "link");
  ASSERT_TRUE(file) << file.error().text;
  EXPECT_EQ(file->loaded(), state);
}

TEST_F(LinkStateFileTest, IsOpenInOneProcessAtATime) {
  const auto first = LinkStateFile::open(folder_, "link");
  ASSERT_TRUE(first);
  const auto second = LinkStateFile::open(folder_, "link");
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find("another process has this state file open"), std::string::npos);
  EXPECT_TRUE(LinkStateFile::open(folder_, "other"));
}

TEST_F(LinkStateFileTest, SomethingElseIsNotOverwritten) {
  std::filesystem::create_directories(folder_);
  for (const char* const text : {"", "something else\n", "backplane link state 1\nsource 1 position 2\n",
                                 "backplane link state 1\ntarget 00000001\n"}) {
    std::ofstream(folder_ / "link.link") << text;
    const auto file = LinkStateFile::open(folder_, "link");
    ASSERT_FALSE(file) << text;
    EXPECT_NE(file.error().text.find("expected a state file"), std::string::npos);
  }
}

}  // namespace
}  // namespace backplane::links

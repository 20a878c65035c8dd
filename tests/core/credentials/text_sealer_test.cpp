#include "core/credentials/text_sealer.hpp"

#include <gtest/gtest.h>

namespace backplane {
namespace {

TEST(TextSealer, OpensWhatItHasSealed) {
  const TextSealer sealer;
  for (const std::size_t size : {0u, 1u, 255u, 318u, 319u, 1000u, 65'535u}) {
    const std::string text(size, 'x');
    EXPECT_EQ(sealer.open(sealer.seal(text)), text) << size;
  }
}

TEST(TextSealer, ShowsNeitherTheTextNorItsLength) {
  const TextSealer sealer;
  const std::string sealed = sealer.seal("news.secret");
  EXPECT_EQ(sealed.find("news"), std::string::npos);
  EXPECT_EQ(sealed.size(), sealer.seal(std::string(255, 'x')).size());
  EXPECT_NE(sealed, sealer.seal("news.secret"));
}

TEST(TextSealer, DoesNotOpenWhatItHasNotSealed) {
  const TextSealer sealer;
  std::string sealed = sealer.seal("news.secret");
  EXPECT_EQ(TextSealer().open(sealed), std::nullopt);
  EXPECT_EQ(sealer.open(""), std::nullopt);
  EXPECT_EQ(sealer.open(std::string_view(sealed).substr(0, 41)), std::nullopt);
  EXPECT_EQ(sealer.open(std::string(500, '\0')), std::nullopt);
  for (const std::size_t at : {std::size_t{0}, std::size_t{30}, sealed.size() - 1}) {
    std::string changed = sealed;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(sealer.open(changed), std::nullopt) << at;
  }
}

}  // namespace
}  // namespace backplane

#include "broker/state/position_list.hpp"

#include <map>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

struct Element {
  Element* older{};
  Element* newer{};
  bool leads_run{};
  std::uint64_t position{};
  [[nodiscard]] std::uint64_t list_position() const { return position; }
};

TEST(PositionList, AgreesWithAMapOverManyInsertionsAndRemovals) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random{seed};
    PositionList<Element, 4> list;
    std::map<std::uint64_t, std::unique_ptr<Element>> model;
    std::uint64_t last = 0;
    for (int i = 0; i < 5000; ++i) {
      if (random() % 2 == 0 || model.empty()) {
        // Mostly at the end; sometimes a leap; sometimes in between.
        std::uint64_t position = random() % 5 == 0 && last > 0 ? 1 + random() % last : last + 1;
        if (random() % 40 == 0) position += random() % 1000;
        if (model.contains(position)) continue;
        last = std::max(last, position);
        auto element = std::make_unique<Element>();
        element->position = position;
        list.insert(*element);
        model[position] = std::move(element);
      } else {
        auto gone = random() % 2 == 0 ? model.begin() : model.lower_bound(random() % (last + 1));
        if (gone == model.end()) continue;
        list.erase(*gone->second);
        model.erase(gone);
      }
      const std::uint64_t probe = random() % (last + 3);
      const auto above = model.upper_bound(probe);
      ASSERT_EQ(list.first_after(probe), above == model.end() ? nullptr : above->second.get());
      ASSERT_EQ(list.first_where([&](const Element& e) { return e.position > probe; }),
                list.first_after(probe));
      const auto exact = model.find(probe);
      ASSERT_EQ(list.at(probe), exact == model.end() ? nullptr : exact->second.get());
      ASSERT_EQ(list.first(), model.empty() ? nullptr : model.begin()->second.get());
      ASSERT_EQ(list.last(), model.empty() ? nullptr : model.rbegin()->second.get());
    }
    const Element* at = list.first();
    for (const auto& [position, element] : model) {
      ASSERT_EQ(at, element.get());
      at = at->newer;
    }
    EXPECT_EQ(at, nullptr);
  }
}

}  // namespace
}  // namespace backplane::broker

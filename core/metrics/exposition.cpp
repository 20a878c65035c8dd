#include "core/metrics/exposition.hpp"

#include <sstream>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace backplane::metrics {

std::string expose(std::span<const Family> families) {
  std::vector<prometheus::MetricFamily> collected;
  collected.reserve(families.size());
  for (const Family& family : families) {
    prometheus::MetricFamily& out = collected.emplace_back();
    out.name = family.name;
    out.help = family.help;
    const bool counts = family.kind == Kind::counter;
    out.type = counts ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    for (const Sample& sample : family.samples) {
      prometheus::ClientMetric& metric = out.metric.emplace_back();
      for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
      (counts ? metric.counter.value : metric.gauge.value) = sample.value;
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer{}.Serialize(text, collected);
  return std::move(text).str();
}

}  // namespace backplane::metrics

#include "core/metrics/exposition.hpp"

#include <sstream>
#include <utility>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace backplane::metrics {
namespace {

prometheus::ClientMetric::Histogram histogram_of(const LatencyHistogram& histogram) {
  constexpr double seconds = 1e-9;
  prometheus::ClientMetric::Histogram made;
  made.sample_count = histogram.count();
  made.sample_sum = static_cast<double>(histogram.sum_ns()) * seconds;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < LatencyHistogram::bounds_ns.size(); ++i) {
    cumulative += histogram.in_bucket(i);
    made.bucket.push_back({cumulative, static_cast<double>(LatencyHistogram::bounds_ns[i]) * seconds});
  }
  return made;
}

prometheus::MetricType type_of(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return prometheus::MetricType::Counter;
    case Kind::gauge:
      break;
    case Kind::histogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Gauge;
}

}  // namespace

std::string expose(std::span<const Family> families) {
  std::vector<prometheus::MetricFamily> collected;
  collected.reserve(families.size());
  for (const Family& family : families) {
    prometheus::MetricFamily& out = collected.emplace_back();
    out.name = family.name;
    out.help = family.help;
    out.type = type_of(family.kind);
    for (const Sample& sample : family.samples) {
      prometheus::ClientMetric& metric = out.metric.emplace_back();
      for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
      if (family.kind == Kind::counter) metric.counter.value = sample.value;
      if (family.kind == Kind::gauge) metric.gauge.value = sample.value;
      if (family.kind == Kind::histogram) metric.histogram = histogram_of(sample.histogram);
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer{}.Serialize(text, collected);
  return std::move(text).str();
}

}  // namespace backplane::metrics

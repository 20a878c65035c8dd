#include "core/payload/type_registry.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include "core/log/escape.hpp"
#include "core/payload/type_survey.hpp"

namespace backplane {
namespace {

namespace pb = google::protobuf;

using Refusal = TypeRegistry::Refusal;
using Registered = TypeRegistry::Registered;

Registered refuse(Refusal refusal, std::string text) {
  return {refusal, std::move(text)};
}

// Enough of a name to recognise it, safe for a terminal.
std::string shown(std::string_view name) {
  constexpr std::size_t shown_bytes_max = 120;
  if (name.size() <= shown_bytes_max) return fmt::format("\"{}\"", log::escape(name));
  return fmt::format("\"{}…\"", log::escape(name.substr(0, shown_bytes_max)));
}

// Keeps protobuf's first error.
class FirstError : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message* /*descriptor*/,
                ErrorLocation /*location*/, const std::string& message) override {
    if (text.empty()) text = fmt::format("{}: {}: {}", shown(file), shown(element), log::escape(message));
  }
  std::string text;
};

// Sorts a set's files so that each comes after those that it imports.
class ImportOrder {
 public:
  explicit ImportOrder(const std::vector<pb::FileDescriptorProto>& files) : files_(files) {
    for (const auto& file : files) by_name_.emplace(file.name(), &file);
  }

  // The files in order, or the name of one that imports itself indirectly.
  tl::expected<std::vector<const pb::FileDescriptorProto*>, std::string> make() {
    for (const auto& file : files_) {
      if (!visit(file)) return tl::unexpected(cycle_);
    }
    return std::move(order_);
  }

 private:
  enum class Mark : std::uint8_t { fresh, entered, done };

  // Recurses at most once per file of the set, which is limited.
  // NOLINTNEXTLINE(misc-no-recursion)
  bool visit(const pb::FileDescriptorProto& file) {
    Mark& mark = marks_[file.name()];  // its address does not change with later insertions
    if (mark == Mark::done) return true;
    if (mark == Mark::entered) {
      cycle_ = file.name();
      return false;
    }
    mark = Mark::entered;
    for (const auto& import : file.dependency()) {
      const auto found = by_name_.find(import);
      if (found != by_name_.end() && !visit(*found->second)) return false;
    }
    mark = Mark::done;
    order_.push_back(&file);
    return true;
  }

  const std::vector<pb::FileDescriptorProto>& files_;
  std::unordered_map<std::string, const pb::FileDescriptorProto*> by_name_;
  std::unordered_map<std::string, Mark> marks_;
  std::vector<const pb::FileDescriptorProto*> order_;
  std::string cycle_;
};

// The files of the well-known types, each after those that it imports.
std::vector<const pb::FileDescriptor*> well_known_files() {
  return {pb::DescriptorProto::descriptor()->file(), pb::Any::descriptor()->file(),
          pb::Duration::descriptor()->file(),        pb::Empty::descriptor()->file(),
          pb::FieldMask::descriptor()->file(),       pb::Struct::descriptor()->file(),
          pb::Timestamp::descriptor()->file(),       pb::DoubleValue::descriptor()->file()};
}

}  // namespace

class TypeRegistry::Impl {
 public:
  explicit Impl(Limits limits) : limits_(limits) {
    for (const auto* file : well_known_files()) {
      pb::FileDescriptorProto proto;
      file->CopyTo(&proto);
      FirstError error;
      CHECK(keep(proto, error), "the well-known types build");
    }
    well_known_ = files_.size();
    bytes_ = 0;  // ours do not count towards the limits
    names_bytes_ = 0;
  }

  Registered add(const pb::FileDescriptorSet& set) {
    if (auto refused = check_size(set); refused.refusal != Refusal::none) return refused;
    std::vector<pb::FileDescriptorProto> fresh;
    if (auto refused = pick_new(set, fresh); refused.refusal != Refusal::none) return refused;
    if (fresh.empty()) return {};
    if (auto refused = check_limits(fresh); refused.refusal != Refusal::none) return refused;
    auto order = ImportOrder(fresh).make();
    if (!order) {
      return refuse(Refusal::bad_types, fmt::format("{} imports itself indirectly", shown(order.error())));
    }
    if (auto refused = validate(*order); refused.refusal != Refusal::none) return refused;
    for (const auto* file : *order) {
      FirstError error;
      if (!keep(*file, error)) return refuse(Refusal::conflict, error.text);
    }
    return {};
  }

  [[nodiscard]] bool has(const pb::FileDescriptorSet& set) const {
    std::vector<pb::FileDescriptorProto> fresh;
    return check_size(set).refusal == Refusal::none && pick_new(set, fresh).refusal == Refusal::none &&
           fresh.empty();
  }

  Page find(std::span<const std::string> names, std::size_t after, std::size_t bytes_max) const {
    Page page;
    std::set<std::size_t> selected;  // in the order of registration, which puts imports first
    if (names.empty()) {
      for (std::size_t at = std::max(after, well_known_); at < files_.size(); ++at) selected.insert(at);
    }
    for (const auto& name : names) {
      const auto* file = defining_file(name);
      if (file != nullptr) {
        add_with_imports(*file, selected);
      } else if (after == 0) {
        page.unknown.push_back(name);
      }
    }
    std::size_t bytes = 0;
    for (auto at = selected.lower_bound(after); at != selected.end(); ++at) {
      const Kept& kept = files_[*at];
      const std::size_t framed = kept.bytes + 4;  // with tag and length in a FileDescriptorSet
      if (!page.files.empty() && bytes + framed > bytes_max) {
        page.next = *at;
        break;
      }
      bytes += framed;
      page.files.push_back(kept.file.get());
    }
    return page;
  }

  [[nodiscard]] std::size_t set_bytes_max() const { return limits_.set_bytes_max; }
  [[nodiscard]] const pb::DescriptorPool& pool() const { return pool_; }
  [[nodiscard]] std::size_t files() const { return files_.size() - well_known_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Kept {
    std::unique_ptr<pb::FileDescriptorProto> file;
    std::size_t bytes{};
  };

  [[nodiscard]] Registered check_size(const pb::FileDescriptorSet& set) const {
    if (static_cast<std::size_t>(set.file_size()) > limits_.set_files_max) {
      return refuse(Refusal::too_large,
                    fmt::format("expected at most {} files, got {}", limits_.set_files_max, set.file_size()));
    }
    if (set.ByteSizeLong() > limits_.set_bytes_max) {
      return refuse(Refusal::too_large, fmt::format("expected at most {} bytes, got {}",
                                                    limits_.set_bytes_max, set.ByteSizeLong()));
    }
    return {};
  }

  // Adds the files that are not registered yet to `fresh`, each once.
  Registered pick_new(const pb::FileDescriptorSet& set, std::vector<pb::FileDescriptorProto>& fresh) const {
    std::unordered_map<std::string, std::string> seen;
    for (pb::FileDescriptorProto file : set.file()) {
      if (file.name().empty()) return refuse(Refusal::bad_types, "a file has no name");
      if (file.name().size() > file_name_bytes_max) {
        return refuse(Refusal::too_large,
                      fmt::format("{}: expected a name of at most {} bytes, got {}", shown(file.name()),
                                  file_name_bytes_max, file.name().size()));
      }
      normalise(file);
      std::string content = file.SerializeAsString();
      const auto known = by_name_.find(file.name());
      if (known != by_name_.end()) {
        const bool ours = known->second < well_known_;
        if (ours || files_[known->second].file->SerializeAsString() == content) continue;
        return refuse(Refusal::conflict,
                      fmt::format("{} is already registered with different content", shown(file.name())));
      }
      const auto [before, is_new] = seen.try_emplace(file.name(), std::move(content));
      if (is_new) {
        fresh.push_back(std::move(file));
      } else if (before->second != file.SerializeAsString()) {
        return refuse(Refusal::conflict,
                      fmt::format("{} appears twice with different content", shown(file.name())));
      }
    }
    return {};
  }

  [[nodiscard]] Registered check_limits(const std::vector<pb::FileDescriptorProto>& fresh) const {
    std::size_t bytes = bytes_;
    std::size_t names_bytes = names_bytes_;
    for (const auto& file : fresh) {
      const TypeSurvey found = survey(file);
      if (!found.fault.empty()) {
        return refuse(Refusal::bad_types, fmt::format("{}: {}", shown(file.name()), found.fault));
      }
      if (file.ByteSizeLong() > limits_.file_bytes_max || found.names_bytes > limits_.file_names_bytes_max) {
        return refuse(Refusal::too_large,
                      fmt::format("{}: expected at most {} bytes per file and {} bytes of full "
                                  "names, got {} and {}",
                                  shown(file.name()), limits_.file_bytes_max, limits_.file_names_bytes_max,
                                  file.ByteSizeLong(), found.names_bytes));
      }
      bytes += file.ByteSizeLong();
      names_bytes += found.names_bytes;
    }
    if (files() + fresh.size() <= limits_.files_max && bytes <= limits_.bytes_max &&
        names_bytes <= limits_.names_bytes_max) {
      return {};
    }
    return refuse(Refusal::too_large,
                  fmt::format("{} files of {} bytes are registered; {} more would exceed the limits of "
                              "{} files, {} bytes and {} bytes of names",
                              files(), bytes_, fresh.size(), limits_.files_max, limits_.bytes_max,
                              limits_.names_bytes_max));
  }

  // Builds the files on top of the registered ones, in a separate pool: a pool cannot remove a file.
  [[nodiscard]] Registered validate(const std::vector<const pb::FileDescriptorProto*>& order) const {
    pb::DescriptorPool scratch(&pool_);
    for (const auto* file : order) {
      FirstError error;
      const auto* built = scratch.BuildFileCollectingErrors(*file, &error);
      if (built == nullptr) return refuse(Refusal::bad_types, error.text);
      if (auto refused = check_symbols(*built); refused.refusal != Refusal::none) return refused;
    }
    return {};
  }

  // A pool does not check for conflicts with the pool under it.
  [[nodiscard]] Registered check_symbols(const pb::FileDescriptor& file) const {
    const auto find_clash = [&](const std::string& name) {
      const auto* other = pool_.FindFileContainingSymbol(name);
      if (other == nullptr) return Registered{};
      return refuse(Refusal::conflict, fmt::format("{}: {} is already defined by {}", shown(file.name()),
                                                   shown(name), shown(other->name())));
    };
    // Names inside a message clash only if the message does.
    std::vector<std::string> names;
    for (int i = 0; i < file.message_type_count(); ++i) names.push_back(file.message_type(i)->full_name());
    for (int i = 0; i < file.extension_count(); ++i) names.push_back(file.extension(i)->full_name());
    for (int i = 0; i < file.service_count(); ++i) names.push_back(file.service(i)->full_name());
    for (int i = 0; i < file.enum_type_count(); ++i) {
      const auto* type = file.enum_type(i);
      names.push_back(type->full_name());
      for (int k = 0; k < type->value_count(); ++k) names.push_back(type->value(k)->full_name());
    }
    for (const auto& name : names) {
      if (auto refused = find_clash(name); refused.refusal != Refusal::none) return refused;
    }
    // A package may exist already, but only as a package.
    for (std::size_t end = 0; end < file.package().size();) {
      end = std::min(file.package().find('.', end + 1), file.package().size());
      const std::string package = file.package().substr(0, end);
      if (!is_defined(package)) continue;
      if (auto refused = find_clash(package); refused.refusal != Refusal::none) return refused;
    }
    return {};
  }

  [[nodiscard]] bool is_defined(const std::string& name) const {
    return pool_.FindMessageTypeByName(name) != nullptr || pool_.FindEnumTypeByName(name) != nullptr ||
           pool_.FindServiceByName(name) != nullptr || pool_.FindExtensionByName(name) != nullptr ||
           pool_.FindEnumValueByName(name) != nullptr;
  }

  // A validated file builds here, too, as far as check_symbols() finds all clashes.
  bool keep(const pb::FileDescriptorProto& file, FirstError& error) {
    if (pool_.BuildFileCollectingErrors(file, &error) == nullptr) return false;
    by_name_.emplace(file.name(), files_.size());
    bytes_ += file.ByteSizeLong();
    names_bytes_ += survey(file).names_bytes;
    files_.push_back({std::make_unique<pb::FileDescriptorProto>(file), file.ByteSizeLong()});
    return true;
  }

  [[nodiscard]] const pb::FileDescriptor* defining_file(std::string_view name) const {
    const std::string type(name.substr(name.rfind('/') + 1));  // npos + 1 is 0: no slash, no prefix
    if (const auto* message = pool_.FindMessageTypeByName(type)) return message->file();
    const auto* enumeration = pool_.FindEnumTypeByName(type);
    return enumeration == nullptr ? nullptr : enumeration->file();
  }

  void add_with_imports(const pb::FileDescriptor& file, std::set<std::size_t>& selected) const {
    std::vector<const pb::FileDescriptor*> open{&file};
    while (!open.empty()) {
      const auto* next = open.back();
      open.pop_back();
      if (!selected.insert(by_name_.at(next->name())).second) continue;
      for (int i = 0; i < next->dependency_count(); ++i) open.push_back(next->dependency(i));
    }
  }

  static constexpr std::size_t file_name_bytes_max = 1024;
  Limits limits_;
  pb::DescriptorPool pool_;
  std::vector<Kept> files_;  // in the order of registration: imports come before the files that import them
  std::unordered_map<std::string, std::size_t> by_name_;
  std::size_t well_known_{};
  std::size_t bytes_{};
  std::size_t names_bytes_{};
};

TypeRegistry::TypeRegistry() : TypeRegistry(Limits{}) {}
TypeRegistry::TypeRegistry(Limits limits) : impl_(std::make_unique<Impl>(limits)) {}
TypeRegistry::~TypeRegistry() = default;

Registered TypeRegistry::add(const pb::FileDescriptorSet& set) {
  return impl_->add(set);
}

bool TypeRegistry::has(const pb::FileDescriptorSet& set) const {
  return impl_->has(set);
}

Registered TypeRegistry::add(std::string_view file_descriptor_set) {
  const std::size_t most = impl_->set_bytes_max();
  if (file_descriptor_set.size() > most) {
    return refuse(Refusal::too_large,
                  fmt::format("expected at most {} bytes, got {}", most, file_descriptor_set.size()));
  }
  pb::FileDescriptorSet set;
  if (!set.ParseFromArray(file_descriptor_set.data(), static_cast<int>(file_descriptor_set.size()))) {
    return refuse(Refusal::bad_types, "expected a google.protobuf.FileDescriptorSet, got other bytes");
  }
  return add(set);
}

const pb::DescriptorPool& TypeRegistry::pool() const noexcept {
  return impl_->pool();
}

TypeRegistry::Page TypeRegistry::find(std::span<const std::string> names, std::size_t after,
                                      std::size_t bytes_max) const {
  return impl_->find(names, after, bytes_max);
}

std::size_t TypeRegistry::files() const noexcept {
  return impl_->files();
}
std::size_t TypeRegistry::bytes() const noexcept {
  return impl_->bytes();
}

}  // namespace backplane

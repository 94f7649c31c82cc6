// An auditor's own tools read the log: Go's sumdb packages check the signature and the root from the tiles.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "audit/log.h"

namespace claw {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGoPath = "/usr/share/gocode";
constexpr const char* kProgram = R"go(package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	dir := os.Args[1]
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	must(err)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	must(err)
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	must(err)
	var origin, root string
	var size int64
	_, err = fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &size, &root)
	must(err)
	var stored []tlog.Hash
	for n := int64(0); n < size; n++ {
		width := size - n/256*256
		name := fmt.Sprintf("tile/0/%03d", n/256)
		if width < 256 {
			name += fmt.Sprintf(".p/%d", width)
		}
		tile, err := os.ReadFile(filepath.Join(dir, name))
		must(err)
		var leaf tlog.Hash
		copy(leaf[:], tile[n%256*32:])
		more, err := tlog.StoredHashesForRecordHash(n, leaf, tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
			out := make([]tlog.Hash, len(at))
			for i, x := range at {
				out[i] = stored[x]
			}
			return out, nil
		}))
		must(err)
		stored = append(stored, more...)
	}
	head, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, x := range at {
			out[i] = stored[x]
		}
		return out, nil
	}))
	must(err)
	if head.String() != root || origin != verifier.Name() {
		fmt.Println("root differs", head, root)
		os.Exit(1)
	}
}
)go";

int run_go(const fs::path& root, const std::string& log) {
  const std::string command = "cd " + root.string() + " && GO111MODULE=off GOFLAGS= GOPATH=" + kGoPath + " GOCACHE=" +
                              (root / "cache").string() + " go run check.go " + log;
  return std::system(command.c_str());
}

TEST(AuditInterop, go_opens_the_checkpoint_and_finds_the_same_root) {
  if (std::system("command -v go >/dev/null 2>&1") != 0 || !fs::exists(std::string(kGoPath) + "/src/golang.org/x/mod/sumdb/note"))
    GTEST_SKIP() << "NOT CHECKED: go or golang-golang-x-mod-dev is not installed";
  std::string pattern = (fs::temp_directory_path() / "claw-interop-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path root = pattern;
  const std::string dir = (root / "log").string();
  {
    auto log = AuditLog::open(system_disk(), system_random(), dir, "deployclaw/interop");
    ASSERT_TRUE(log.ok()) << log.error().message();
    for (int i = 0; i < 300; ++i) ASSERT_TRUE((*log)->append({{"type", "brake"}, {"number", i}}).ok());
    ASSERT_TRUE((*log)->checkpoint().ok());
  }
  std::ofstream(root / "check.go") << kProgram;
  EXPECT_EQ(run_go(root, dir), 0);
  std::fstream tile(dir + "/tile/0/000", std::ios::in | std::ios::out | std::ios::binary);
  tile.put('\0').put('\0');
  tile.close();
  EXPECT_NE(run_go(root, dir), 0) << "the check can fail";
  fs::remove_all(root);
}

}  // namespace
}  // namespace claw

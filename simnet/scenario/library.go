package scenario

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/story"
)

//go:embed library/*.toml
var files embed.FS

// Library are the names of the scenarios that come along, stories too.
func Library() []string {
	all, _ := fs.Glob(files, "library/*.toml") // the pattern is right
	for i, f := range all {
		all[i] = strings.TrimSuffix(path.Base(f), ".toml")
	}
	all = append(all, story.Names()...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Source is the text of one of them.
func Source(name string) (text string, ok bool) {
	if raw, err := files.ReadFile("library/" + name + ".toml"); err == nil {
		return string(raw), true
	}
	s, err := story.Load(name)
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("question = %q\nkind = %q\nstory = %q\n\n[expect]\n\"broken.count\" = \"== 0\"\n", s.Question, KindStory, name), true
}

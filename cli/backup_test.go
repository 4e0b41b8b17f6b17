package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/talk"
)

// kithCmd is a command of the real binary.
func kithCmd(home string, args ...string) *exec.Cmd {
	cmd := exec.Command("kith", append([]string{"--home", home}, args...)...) // testscript's TestMain puts it there
	cmd.Env = append(os.Environ(), "HOME="+home)
	return cmd
}

// kith runs the real binary.
func kith(t testing.TB, home string, args ...string) string {
	t.Helper()
	var out, why bytes.Buffer
	cmd := kithCmd(home, args...)
	cmd.Stdout, cmd.Stderr = &out, &why
	if err := cmd.Run(); err != nil {
		t.Fatalf("kith %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), why.String())
	}
	return out.String()
}

// writer is a home with so many notes to oneself; words is a file with its recovery words.
func writer(t testing.TB, notes int) (home, words string) {
	t.Helper()
	home, words = filepath.Join(t.TempDir(), "ada"), filepath.Join(t.TempDir(), "words")
	phrase, _, err := p2p.Init(home, p2p.InitParams{Name: "Ada", DeviceName: "laptop"})
	if err == nil {
		err = os.WriteFile(words, []byte(phrase), 0o600)
	}
	if err == nil {
		err = p2p.Work(home, nil, func(turn p2p.Turns) error {
			for done := 0; done < notes; done += 500 {
				err := turn(func(e *node.Engine, t *node.Turn) error {
					return e.Talk(t, func(d *talk.Desk) error {
						for i := range min(500, notes-done) {
							if _, err := d.Send("me", talk.Words{Text: fmt.Sprintf("note %d %s", done+i, strings.Repeat("and so on ", 60))}); err != nil {
								return err
							}
						}
						return nil
					})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return home, words
}

// notes counts the notes to oneself of a home, by their ids.
func notes(t testing.TB, home string) int {
	t.Helper()
	var list struct{ Messages []struct{ ID, Text string } }
	if err := json.Unmarshal([]byte(kith(t, home, "api", "messages", `{"chat":"me","limit":1000}`)), &list); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range list.Messages {
		if seen[m.ID] || seen[m.Text] {
			t.Errorf("%s is there twice", m.ID)
		}
		seen[m.ID], seen[m.Text] = true, true
	}
	return len(list.Messages)
}

// A process that is killed in the middle of writing a backup leaves the one before as it was, and one that is killed in
// the middle of bringing one back is finished by the same command.
func TestBackupsSurviveKills(t *testing.T) {
	const all = 900
	home, words := writer(t, all)
	file := filepath.Join(t.TempDir(), "ada.backup")
	kith(t, home, "backup", "create", file)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		cmd := kithCmd(home, "backup", "create", file, "--yes")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for cmd.ProcessState == nil { // until there is a part of the new one
			if _, err := os.Stat(file + ".new"); err == nil {
				break
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
				break // it was faster
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		kith(t, home, "backup", "verify", file, "--phrase-file", words)
	}
	kith(t, home, "backup", "create", file, "--yes")
	if _, err := os.Stat(file + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed process left is still there: %v", err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, begin := range map[string][]string{
		"restore": {"backup", "restore"},
		"init":    {"init", "--phrase-file", words, "--device-name", "again", "--backup"},
	} {
		back := filepath.Join(t.TempDir(), name)
		if name == "restore" { // into a home that has the same identity, and nothing else
			kith(t, back, "init", "--phrase-file", words, "--name", "Ada")
			begin = append(begin, "--phrase-file", words)
		}
		killedReading(t, back, begin, whole)
		if name == "init" {
			if p2p.Exists(back) {
				t.Error("a half restored home is an identity")
			}
			kith(t, back, append(begin, file)...)
		} else {
			if half := notes(t, back); half == 0 || half >= all {
				t.Errorf("%s: %d notes came before the kill: not its middle", name, half)
			}
			kith(t, back, "backup", "restore", file, "--phrase-file", words)
		}
		if got := notes(t, back); got != all {
			t.Errorf("%s: %d notes of %d", name, got, all)
		}
	}
}

// killedReading runs a command whose last argument is a backup, gives it the backup to look through and then all but the
// end of it, and kills it when it has taken that in.
func killedReading(t *testing.T, home string, args []string, file []byte) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "backup")
	fresh := func() { // what is opened next is another pipe than what is being read
		if err := errors.Join(syscall.Mkfifo(pipe+".next", 0o600), os.Rename(pipe+".next", pipe)); err != nil {
			t.Fatal(err)
		}
	}
	fresh()
	at := len(args)
	for i, a := range args {
		if a == "restore" {
			at = i + 1
		}
	}
	args = append(append(append([]string{}, args[:at]...), pipe), args[at:]...)
	cmd := kithCmd(home, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for pass := 1; ; pass++ { // which lock it has, whether the words open it, whether it is whole
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fresh()
		if pass == 4 {
			_, err = w.Write(file[:len(file)-100<<10])
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			w.Close()
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			return
		}
		_, _ = w.Write(file) // it may have seen enough
		w.Close()
	}
}

func BenchmarkBackup(b *testing.B) {
	const all = 100_000
	home, words := writer(b, all)
	file := filepath.Join(b.TempDir(), "ada.backup")
	measured := func(what string, home string, args ...string) {
		cmd := kithCmd(home, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", what, err, out)
		}
		use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		b.ReportMetric((cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()).Seconds(), what+"-cpu-s")
		b.ReportMetric(float64(use.Maxrss)/1024, what+"-MiB")
	}
	for b.Loop() {
		measured("create", home, "backup", "create", file, "--yes")
		measured("verify", home, "backup", "verify", file, "--phrase-file", words)
		back := filepath.Join(b.TempDir(), "back")
		measured("init", back, "init", "--phrase-file", words, "--backup", file)
		measured("again", back, "backup", "restore", file, "--phrase-file", words)
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "file-MiB")
	}
}

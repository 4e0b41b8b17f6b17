package story

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Line is one command of a script.
type Line struct {
	Number int // in its file, from 1
	Verb   string
	Args   []string
}

// String is the line as it would be written.
func (l Line) String() string {
	words := []string{l.Verb}
	for _, a := range l.Args {
		if a == "" || strings.ContainsFunc(a, func(r rune) bool { return unicode.IsSpace(r) || r == '"' || r == '#' || !unicode.IsPrint(r) }) {
			a = strconv.Quote(a)
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// Script is what a story does, line by line.
type Script []Line

// String is the script as it would be written.
func (s Script) String() string {
	var b strings.Builder
	for _, l := range s {
		b.WriteString(l.String() + "\n")
	}
	return b.String()
}

// maxScript bounds a script that somebody hands in.
const maxScript = 1 << 20

// Parse reads a script. Names that it uses are those that it introduced before.
func Parse(file, text string) (Script, error) {
	if len(text) > maxScript {
		return nil, fmt.Errorf("%s: longer than %d bytes", file, maxScript)
	}
	var s Script
	c := checker{}
	for i, raw := range strings.Split(text, "\n") {
		ws, err := words(raw)
		if err == nil && len(ws) == 0 {
			continue
		}
		if err == nil {
			l := Line{Number: i + 1, Verb: ws[0], Args: ws[1:]}
			s = append(s, l)
			err = c.check(l)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return s, nil
}

// words splits a line at blanks; "…" is one word, # begins a remark.
func words(line string) (out []string, err error) {
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimLeftFunc(line, unicode.IsSpace) {
		word := line
		if line[0] == '"' {
			if word, err = strconv.QuotedPrefix(line); err != nil {
				return nil, fmt.Errorf("a quote that does not end: %s", line)
			}
			line = line[len(word):]
			if word, err = strconv.Unquote(word); err != nil {
				return nil, err
			}
		} else {
			if i := strings.IndexFunc(line, unicode.IsSpace); i > 0 {
				word = line[:i]
			}
			line = line[len(word):]
		}
		out = append(out, word)
	}
	return out, nil
}

// duration reads "90s", "3h" or "3d".
func duration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("%q is no time: want 30s, 5m, 3h or 2d", s)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time: want 30s, 5m, 3h or 2d", s)
	}
	return d, nil
}

// checker knows what the lines before introduced.
type checker struct {
	names map[string]byte // p person (and first device), d device, r relay, g group
	texts map[string]bool
}

// check holds a line against the form of its verb.
func (c *checker) check(l Line) error {
	v, ok := verbs[l.Verb]
	if !ok {
		return fmt.Errorf("there is no verb %q; there is: %s", l.Verb, strings.Join(Verbs(), " "))
	}
	if c.names == nil {
		c.names, c.texts = map[string]byte{}, map[string]bool{}
	}
	if l.Verb == "expect" || l.Verb == "deny" {
		return c.claim(l)
	}
	return c.form(l.Verb, v.form, l.Args)
}

// claim holds what a line claims against the form of the claim.
func (c *checker) claim(l Line) error {
	args := l.Args
	if len(args) > 1 && args[0] == "within" {
		if err := c.word("TIME", args[1]); err != nil {
			return err
		}
		args = args[2:]
	}
	if len(args) < 2 {
		return fmt.Errorf("%s %s: want a host and what is claimed of it", l.Verb, verbs[l.Verb].form)
	}
	x, ok := claims[args[1]]
	if !ok {
		return fmt.Errorf("%q is nothing that can be claimed; there is: %s", args[1], strings.Join(Claims(), " "))
	}
	place := "DEVICE"
	if x.of == nil {
		place = "RELAY"
	}
	if err := c.word(place, args[0]); err != nil {
		return err
	}
	return c.form(args[1], x.form, args[2:])
}

// form holds words against the places that a form names.
func (c *checker) form(name, wanted string, args []string) error {
	form := strings.Fields(wanted)
	for _, f := range form {
		many := strings.HasSuffix(f, "…")
		if f = strings.TrimSuffix(f, "…"); strings.HasPrefix(f, "[") {
			if len(args) == 0 {
				return nil
			}
			f = strings.Trim(f, "[]")
		}
		if len(args) == 0 {
			return fmt.Errorf("%s %s: %s is missing", name, wanted, f)
		}
		for {
			if err := c.word(f, args[0]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if args = args[1:]; !many || len(args) == 0 {
				break
			}
		}
	}
	if len(args) > 0 {
		return fmt.Errorf("%s %s: what is %q?", name, wanted, args[0])
	}
	return nil
}

// word holds one word against its place in a form.
func (c *checker) word(place, w string) (err error) {
	kinds := map[string]string{"DEVICE": "pd", "PERSON": "p", "RELAY": "r", "HOST": "pdr", "GROUP": "g", "WHO": "pg"}
	made := map[string]byte{"NEWPERSON": 'p', "NEWDEVICE": 'd', "NEWRELAY": 'r', "NEWGROUP": 'g'}
	switch {
	case kinds[place] != "":
		if k, known := c.names[w]; !known || !strings.ContainsRune(kinds[place], rune(k)) {
			return fmt.Errorf("%q is no %s of this story", w, strings.ToLower(place))
		}
	case made[place] != 0:
		if c.names[w] != 0 || w == "" || strings.ContainsFunc(w, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' }) {
			return fmt.Errorf("%q cannot be a name, or is one already", w)
		}
		c.names[w] = made[place]
	case place == "NEWTEXT":
		if c.texts[w] || w == "" {
			return fmt.Errorf("%q was said before: a story finds messages by their text", w)
		}
		c.texts[w] = true
	case place == "TEXT" && !c.texts[w]:
		return fmt.Errorf("nobody said %q", w)
	case place == "TIME":
		_, err = duration(w)
	case place == "SHARE":
		_, err = share(w)
	case place == "NUMBER":
		_, err = strconv.ParseUint(w, 10, 31)
	case place == "LIE" && lies[w] == nil:
		return fmt.Errorf("%q is no lie; there is: %s", w, strings.Join(slices.Sorted(maps.Keys(lies)), " "))
	case place == "on|off" && w != "on" && w != "off":
		return fmt.Errorf("%q is neither on nor off", w)
	}
	return err
}

func share(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !strings.HasSuffix(s, "%") || n < 0 || n > 100 {
		return 0, fmt.Errorf("%q is no share: want 0%% to 100%%", s)
	}
	return n / 100, nil
}

// Verbs lists the commands in order.
func Verbs() []string { return slices.Sorted(maps.Keys(verbs)) }

// Claims lists in order what can be expected or denied of a host.
func Claims() []string { return slices.Sorted(maps.Keys(claims)) }

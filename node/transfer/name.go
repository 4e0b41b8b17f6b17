package transfer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExt is the longest ending that counts as one, with its dot.
const maxExt = 16

// fallbackName is the name of a file whose own says nothing that can be shown.
const fallbackName = "file"

// SafeName makes a name that somebody else chose fit to be shown and to be a name in a folder, on any system: no
// folders, nothing hidden, invisible or that turns text around, no name that a system keeps for itself, at most MaxName
// bytes with its ending kept.
func SafeName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if len(name) > 64*MaxName { // what is cut off anyway is not worth a look
		name = name[:MaxName] + name[len(name)-MaxName:]
	}
	name = strings.TrimRight(strings.TrimLeft(shown(name), " ."), " .")
	if strings.HasPrefix(name, "-") || strings.HasPrefix(name, "~") {
		name = "_" + name[1:] // no option of a command, no home folder of a shell
	}
	if name == "" {
		return fallbackName
	}
	stem, ext := split(name)
	if reserved(stem) {
		stem = "_" + stem
	}
	return cut(stem, MaxName-len(ext)) + ext
}

// Numbered is the n-th name to try for a file; the first is the name itself.
func Numbered(name string, n int) string {
	if n <= 1 {
		return name
	}
	stem, ext := split(name)
	return fmt.Sprintf("%s (%d)%s", stem, n, ext)
}

// shown keeps what can be seen: separators of paths become underscores, any run of spaces one space.
func shown(name string) string {
	var b strings.Builder
	space := false
	for _, r := range name {
		switch {
		case unicode.IsSpace(r):
			space = true
			continue
		case r == utf8.RuneError, !unicode.IsGraphic(r), blank(r):
			continue
		case strings.ContainsRune("/\\:*?\"<>|\u2044\u2215\u29f8\uff0f\uff3c", r):
			r = '_'
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

// blank covers letters and symbols that are drawn as nothing.
func blank(r rune) bool {
	return r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x2800 || r == 0x3164 || r == 0xffa0
}

// split parts a name before its last ending.
func split(name string) (stem, ext string) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > maxExt || len(name)-i < 2 {
		return name, ""
	}
	return strings.TrimRight(name[:i], " ."), name[i:]
}

// cut shortens text to so many bytes at a rune.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return strings.TrimRight(text[:most], " .")
}

// reserved covers the names that Windows keeps for devices, whatever their ending.
func reserved(stem string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(stem), ".")
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if rest, ok := strings.CutPrefix(base, port); ok && utf8.RuneCountInString(rest) == 1 && strings.Contains("0123456789\u00b9\u00b2\u00b3", rest) {
			return true
		}
	}
	return false
}

// SafeType is a media type as somebody else named it, or what says nothing of a file.
func SafeType(name string) string {
	main, sub, ok := strings.Cut(name, "/")
	if ok && len(name) <= maxType && token(main) && token(sub) {
		return strings.ToLower(name)
	}
	return "application/octet-stream"
}

func token(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.+-_") == ""
}

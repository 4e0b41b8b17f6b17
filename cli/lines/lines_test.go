package lines

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryLineComesOnceAndLongOnesAreNamed(t *testing.T) {
	failed := errors.New("disk on fire")
	for _, c := range []struct {
		name string
		in   io.Reader
		want []string
		end  error
	}{
		{"nothing", strings.NewReader(""), nil, io.EOF},
		{"ends", strings.NewReader("a\nb\r\n\nc"), []string{"a", "b", "", "c"}, io.EOF},
		{"long", strings.NewReader("12345678\n123456789\nx\n" + strings.Repeat("y", 100)), []string{"12345678", "LONG", "x", "LONG"}, io.EOF},
		{"with a carriage return", strings.NewReader("12345678\r\n123456789\r\n"), []string{"12345678", "LONG"}, io.EOF},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("ab\n" + strings.Repeat("z", 50) + "\ncd")), []string{"ab", "LONG", "cd"}, io.EOF},
		{"broken", io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(failed)), []string{"a", "b"}, failed},
	} {
		var got []string
		var end error
		for l := range Read(t.Context(), c.in, 8) {
			switch {
			case l.Err != nil:
				end = l.Err
			case l.Long:
				got = append(got, "LONG")
			default:
				got = append(got, string(l.Text))
			}
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") || !errors.Is(end, c.end) {
			t.Errorf("%s: %q, then %v; want %q, then %v", c.name, got, end, c.want, c.end)
		}
	}
}

func TestAReaderThatIsGivenUpEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := Read(ctx, strings.NewReader("a\nb\nc\n"), 8)
	<-l
	cancel()
	for range l { // at most one more was on its way
		continue
	}
}

package caddysnake

// Reads buffers that C has packed.

// cursor reads a packed buffer. Every length is checked against the rest of the
// buffer before use. A length that does not fit breaks the cursor, and every later
// read is empty. So a reader checks broken once, after reading everything.
type cursor[T string | []byte] struct {
	left   T
	broken bool
}

func (c *cursor[T]) take(n int) T {
	if n < 0 || n > len(c.left) {
		c.broken, n = true, 0
		c.left = c.left[len(c.left):]
	}
	taken := c.left[:n]
	c.left = c.left[n:]
	return taken
}

func (c *cursor[T]) byte() byte {
	if b := c.take(1); len(b) > 0 {
		return b[0]
	}
	return 0
}

func (c *cursor[T]) uint32() int {
	b := c.take(4)
	if len(b) < 4 {
		return 0
	}
	return int(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// field reads a length and that many bytes.
func (c *cursor[T]) field() T { return c.take(c.uint32()) }

// header reads a name and a value; both lengths come first (SNAKE_HEAD in caddysnake.h).
func (c *cursor[T]) header() (name, value T) {
	nameLen, valueLen := c.uint32(), c.uint32()
	return c.take(nameLen), c.take(valueLen)
}

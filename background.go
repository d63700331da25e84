package caddysnake

// Commands that run beside an app: started with it, kept running, and ended with it.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// backgrounds are the commands of one generation.
type backgrounds struct {
	end    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	limit  time.Duration // set before cancel: for a process to end after SIGTERM
}

// startBackgrounds starts the commands. If one of them can't be started, the others end.
func startBackgrounds(ctx context.Context, commands [][]string, load loadRequest, log *appLog) (*backgrounds, error) {
	b := new(backgrounds)
	b.end, b.cancel = context.WithCancel(context.Background())
	for _, command := range commands {
		c := &backgroundCommand{order: backgroundOrder{command, load}, log: log}
		if err := c.start(ctx); err != nil {
			b.stop(0)
			return nil, fmt.Errorf("background %s: %w", strings.Join(command, " "), err)
		}
		b.group.Go(func() { c.keepRunning(b) })
	}
	return b, nil
}

// stop ends the commands: by SIGTERM, and by SIGKILL once the limit is over.
func (b *backgrounds) stop(limit time.Duration) {
	b.limit = limit
	b.cancel()
	b.group.Wait()
}

// backgroundCommand is a command and its current process.
type backgroundCommand struct {
	order   backgroundOrder
	log     *appLog
	process *backgroundProcess
	begun   time.Time
	deaths  int // in a row, each soon after its start
}

func (c *backgroundCommand) start(ctx context.Context) (err error) {
	c.begun = time.Now()
	c.process, err = startBackground(ctx, c.order, c.log)
	return err
}

// keepRunning starts the command again whenever it ends. The pauses grow while it ends
// soon after its start.
func (c *backgroundCommand) keepRunning(b *backgrounds) {
	for {
		select {
		case <-b.end.Done():
			c.process.stop(b.limit)
			return
		case <-c.process.died:
		}
		if time.Since(c.begun) >= healthyAfter {
			c.deaths = 0
		}
		c.process.logEnd()
		if !c.restart(b) {
			return
		}
	}
}

// restart returns false if the command is to end.
func (c *backgroundCommand) restart(b *backgrounds) bool {
	logger := c.process.log.logger()
	for {
		pause := pauseAfter(c.deaths)
		c.deaths++
		select {
		case <-b.end.Done():
			return false
		case <-time.After(pause):
		}
		err := c.start(b.end)
		if err == nil {
			return true
		}
		if !errors.Is(err, context.Canceled) {
			logger.Error("a background command can't be started again", zap.Error(err))
		}
	}
}

package caddysnake

// Reloads an app's code while it serves: the new generation starts next to the old
// one and replaces it. The old generation ends after its last request.

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// reload loads the app's changed code.
func (a *App) reload(ctx context.Context, reason changes) {
	start := time.Now()
	logger := a.logger.Load()
	fields := []zap.Field{
		zap.String("app", a.config.Module), zap.String("changed", reason.first), zap.Int("files", reason.files),
	}
	gen, err := loadGeneration(ctx, a.config, a.meter, time.Duration(a.startTimeout.Load()), logger)
	if ctx.Err() != nil && err != nil {
		return // the app has been stopped
	}
	fields = append(fields, zap.Duration("duration", time.Since(start)))
	switch {
	case err == nil:
		logger.Info("python app reloaded", fields...)
		a.replace(gen, nil)
	case a.config.Autoreload.OnError == "keep":
		logger.Error("reloading python app failed; it keeps the code that was loaded before", append(fields, zap.Error(err))...)
	default:
		logger.Error("reloading python app failed; requests fail until it is fixed", append(fields, zap.Error(err))...)
		a.replace(nil, &loadFailure{err})
	}
}

// replace replaces the current generation with gen, or with the reason why there is
// none.
func (a *App) replace(gen *generation, failure *loadFailure) {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		if gen != nil {
			gen.leave()
			retiring.Go(func() { gen.retire(drainLimits{}) })
		}
		return
	}
	if failure != nil { // set it before current becomes nil
		a.failure.Store(failure)
	}
	old := a.current.Swap(gen)
	if failure == nil {
		a.failure.Store(nil)
		a.meter.reloads.Inc()
	}
	if gen != nil { // the config may have changed meanwhile
		gen.appLog.logger.Store(a.logger.Load())
	}
	a.mu.Unlock()
	if old != nil {
		old.leave()
		retiring.Go(func() { old.retire(a.config.Autoreload.DrainLimits) })
	}
}

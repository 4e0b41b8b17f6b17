package live

import "github.com/kith-im/kith/simnet/model"

func zone(x float64) (int, int)                      { return int(x * 8), int(x*24) - 12 }
func activity(int) float64                           { return 1 }
func textLength(x uint64) int                        { return int(x % 200) }
func remaining(w model.Weibull, d model.Dice) uint64 { return w.Draw(d) }

;; How many steps of z = z * z + c, with c = (x, y), stay within a distance of 2; at most `limit`.
(module
  (func (export "steps") (param $x f64) (param $y f64) (param $limit i32) (result i32)
    (local $re f64) (local $im f64) (local $re2 f64) (local $im2 f64) (local $count i32)
    (block $out
      (loop $next
        (br_if $out (i32.ge_s (local.get $count) (local.get $limit)))
        (local.set $re2 (f64.mul (local.get $re) (local.get $re)))
        (local.set $im2 (f64.mul (local.get $im) (local.get $im)))
        (br_if $out (f64.gt (f64.add (local.get $re2) (local.get $im2)) (f64.const 4)))
        (local.set $im
          (f64.add (f64.mul (f64.const 2) (f64.mul (local.get $re) (local.get $im))) (local.get $y)))
        (local.set $re (f64.add (f64.sub (local.get $re2) (local.get $im2)) (local.get $x)))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (br $next)))
    (local.get $count)))

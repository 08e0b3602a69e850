; Turns stored samples into what a model takes: each times a number, plus another.
;
;   stored  address of the first sample, a byte
;   images  address of the first result, float32, where a line of the caches begins
;   count   how many there are, a multiple of 48: 16 pixels
;   scale, offset  48 times float32, the factors and summands of 16 pixels
;
; The results are stored past the caches: a batch is larger than they are. Nothing is checked.

define void @normalise(ptr %stored, ptr %images, i64 %count, ptr %scale, ptr %offset) {
entry:
  %factors = load <48 x float>, ptr %scale, align 4
  %summands = load <48 x float>, ptr %offset, align 4
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %pixels, label %done

pixels:
  %n = phi i64 [ 0, %entry ], [ %next, %pixels ]
  %from = getelementptr i8, ptr %stored, i64 %n
  %to = getelementptr float, ptr %images, i64 %n
  %samples = load <48 x i8>, ptr %from, align 1
  %values = uitofp <48 x i8> %samples to <48 x float>
  %scaled = fmul <48 x float> %values, %factors
  %shifted = fadd <48 x float> %scaled, %summands
  store <48 x float> %shifted, ptr %to, align 64, !nontemporal !0
  %next = add i64 %n, 48
  %more = icmp slt i64 %next, %count
  br i1 %more, label %pixels, label %done

done:                                             ; everybody sees what went past the caches
  fence seq_cst
  ret void
}

!0 = !{ i32 1 }

; Resizes RGB images of one size as Pillow does: first all rows, then all columns.
;
;   images  int64 (count, 3), of each: address of its first pixel, bytes from one row to the next,
;           and address of the result, uint8 (rows of the result, columns of the result, 3)
;   plan    int64 (11,): width and height of an image in pixels, at least 5 and 1; pixels to the
;           left of it, and above, at which pairs begin, 0 or 1; pairs for each column of the
;           result, and for each row; columns and rows of the result; addresses of the weights
;           of the columns and of the rows; pairs of rows that are kept, a power of two
;   memory  for what is on its way, aligned to 64 bytes; see `ResizingPlan`
;
; Weights are int64 (columns or rows, 1 + pairs): the number of the first pair of pixels that is
; summed up, and for each pair w0 >> 12, w1 >> 12, w0 & 4095, w1 & 4095, 16 bits each; the
; weights w have 22 fractional bits.
;
; It is the arithmetic of src/libImaging/Resample.c in Pillow. A vector holds 16 pairs of
; neighbours; most processors have an instruction that multiplies them with pairs of weights
; and adds up (pmaddwd). 32 rows at a time go through four steps, in memory that stays in the
; caches:
;
;   spread  pairs of neighbours in a row: vectors of 16 rows
;   across  their weighted sums, as pairs of neighbours in a column: vectors of 16 rows
;   turn    the same pairs: vectors of 16 columns
;   down    their weighted sums, for all rows of the result that are complete by now
;
; Nothing is checked.

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i64 @llvm.smin.i64(i64, i64)
declare <16 x i32> @llvm.smax.v16i32(<16 x i32>, <16 x i32>)
declare <16 x i32> @llvm.smin.v16i32(<16 x i32>, <16 x i32>)
declare <16 x i32> @llvm.vector.insert.v16i32.v4i32(<16 x i32>, <4 x i32>, i64)

define internal i64 @item(ptr %array, i64 %number) alwaysinline {
  %at = getelementptr i64, ptr %array, i64 %number
  %item = load i64, ptr %at
  ret i64 %item
}

define internal <16 x i32> @splat(ptr %from) alwaysinline {
  %one = load i32, ptr %from
  %first = insertelement <16 x i32> poison, i32 %one, i64 0
  %all = shufflevector <16 x i32> %first, <16 x i32> poison, <16 x i32> zeroinitializer
  ret <16 x i32> %all
}

define internal <16 x i32> @even(<16 x i32> %pairs) alwaysinline {
  %halves = bitcast <16 x i32> %pairs to <32 x i16>
  %some = shufflevector <32 x i16> %halves, <32 x i16> poison, <16 x i32> <i32 0, i32 2, i32 4, i32 6, i32 8, i32 10, i32 12, i32 14, i32 16, i32 18, i32 20, i32 22, i32 24, i32 26, i32 28, i32 30>
  %wide = sext <16 x i16> %some to <16 x i32>
  ret <16 x i32> %wide
}

define internal <16 x i32> @odd(<16 x i32> %pairs) alwaysinline {
  %halves = bitcast <16 x i32> %pairs to <32 x i16>
  %some = shufflevector <32 x i16> %halves, <32 x i16> poison, <16 x i32> <i32 1, i32 3, i32 5, i32 7, i32 9, i32 11, i32 13, i32 15, i32 17, i32 19, i32 21, i32 23, i32 25, i32 27, i32 29, i32 31>
  %wide = sext <16 x i16> %some to <16 x i32>
  ret <16 x i32> %wide
}

define internal <16 x i32> @add_products(<16 x i32> %sum, <16 x i32> %a, <16 x i32> %b) alwaysinline {
  %a.even = call <16 x i32> @even(<16 x i32> %a)
  %a.odd = call <16 x i32> @odd(<16 x i32> %a)
  %b.even = call <16 x i32> @even(<16 x i32> %b)
  %b.odd = call <16 x i32> @odd(<16 x i32> %b)
  %even = mul <16 x i32> %a.even, %b.even
  %odd = mul <16 x i32> %a.odd, %b.odd
  %both = add <16 x i32> %even, %odd
  %more = add <16 x i32> %sum, %both
  ret <16 x i32> %more
}

; Rounds sums, of which the low part has half a grey value on top, to grey values.
define internal <16 x i32> @rounded(<16 x i32> %high, <16 x i32> %low) alwaysinline {
  %shifted = shl <16 x i32> %high, splat (i32 12)
  %sum = add <16 x i32> %shifted, %low
  %whole = ashr <16 x i32> %sum, splat (i32 22)
  %not.below = call <16 x i32> @llvm.smax.v16i32(<16 x i32> %whole, <16 x i32> zeroinitializer)
  %in.range = call <16 x i32> @llvm.smin.v16i32(<16 x i32> %not.below, <16 x i32> splat (i32 255))
  ret <16 x i32> %in.range
}

; Four pixels of every fourth of 16 rows: R R R R G G G G B B B B and four bytes of waste, in
; the order 0, 2, 1, 3.
define internal <16 x i32> @four_rows(ptr %table, i64 %byte) alwaysinline {
  %b.at = getelementptr ptr, ptr %table, i64 4
  %c.at = getelementptr ptr, ptr %table, i64 8
  %d.at = getelementptr ptr, ptr %table, i64 12
  %a.row = load ptr, ptr %table
  %b.row = load ptr, ptr %b.at
  %c.row = load ptr, ptr %c.at
  %d.row = load ptr, ptr %d.at
  %a.from = getelementptr i8, ptr %a.row, i64 %byte
  %b.from = getelementptr i8, ptr %b.row, i64 %byte
  %c.from = getelementptr i8, ptr %c.row, i64 %byte
  %d.from = getelementptr i8, ptr %d.row, i64 %byte
  %a = load <4 x i32>, ptr %a.from, align 1
  %b = load <4 x i32>, ptr %b.from, align 1
  %c = load <4 x i32>, ptr %c.from, align 1
  %d = load <4 x i32>, ptr %d.from, align 1
  %one = call <16 x i32> @llvm.vector.insert.v16i32.v4i32(<16 x i32> poison, <4 x i32> %a, i64 0)
  %two = call <16 x i32> @llvm.vector.insert.v16i32.v4i32(<16 x i32> %one, <4 x i32> %b, i64 4)
  %three = call <16 x i32> @llvm.vector.insert.v16i32.v4i32(<16 x i32> %two, <4 x i32> %c, i64 8)
  %four = call <16 x i32> @llvm.vector.insert.v16i32.v4i32(<16 x i32> %three, <4 x i32> %d, i64 12)
  %bytes = bitcast <16 x i32> %four to <64 x i8>
  %sorted = shufflevector <64 x i8> %bytes, <64 x i8> poison, <64 x i32> <
    i32 0, i32 6, i32 3, i32 9, i32 1, i32 7, i32 4, i32 10, i32 2, i32 8, i32 5, i32 11, i32 12, i32 13, i32 14, i32 15,
    i32 16, i32 22, i32 19, i32 25, i32 17, i32 23, i32 20, i32 26, i32 18, i32 24, i32 21, i32 27, i32 28, i32 29, i32 30, i32 31,
    i32 32, i32 38, i32 35, i32 41, i32 33, i32 39, i32 36, i32 42, i32 34, i32 40, i32 37, i32 43, i32 44, i32 45, i32 46, i32 47,
    i32 48, i32 54, i32 51, i32 57, i32 49, i32 55, i32 52, i32 58, i32 50, i32 56, i32 53, i32 59, i32 60, i32 61, i32 62, i32 63>
  %result = bitcast <64 x i8> %sorted to <16 x i32>
  ret <16 x i32> %result
}

define internal <8 x i64> @lower(<16 x i32> %a, <16 x i32> %b) alwaysinline {
  %zipped = shufflevector <16 x i32> %a, <16 x i32> %b, <16 x i32> <i32 0, i32 16, i32 1, i32 17, i32 4, i32 20, i32 5, i32 21, i32 8, i32 24, i32 9, i32 25, i32 12, i32 28, i32 13, i32 29>
  %result = bitcast <16 x i32> %zipped to <8 x i64>
  ret <8 x i64> %result
}

define internal <8 x i64> @upper(<16 x i32> %a, <16 x i32> %b) alwaysinline {
  %zipped = shufflevector <16 x i32> %a, <16 x i32> %b, <16 x i32> <i32 2, i32 18, i32 3, i32 19, i32 6, i32 22, i32 7, i32 23, i32 10, i32 26, i32 11, i32 27, i32 14, i32 30, i32 15, i32 31>
  %result = bitcast <16 x i32> %zipped to <8 x i64>
  ret <8 x i64> %result
}

define internal <8 x i64> @first(<8 x i64> %a, <8 x i64> %b) alwaysinline {
  %result = shufflevector <8 x i64> %a, <8 x i64> %b, <8 x i32> <i32 0, i32 8, i32 2, i32 10, i32 4, i32 12, i32 6, i32 14>
  ret <8 x i64> %result
}

define internal <8 x i64> @second(<8 x i64> %a, <8 x i64> %b) alwaysinline {
  %result = shufflevector <8 x i64> %a, <8 x i64> %b, <8 x i32> <i32 1, i32 9, i32 3, i32 11, i32 5, i32 13, i32 7, i32 15>
  ret <8 x i64> %result
}

; Takes four grey values of a colour in each of 16 rows; stores them as two vectors of pairs.
define internal void @store_pairs(<8 x i64> %four, ptr %to) alwaysinline {
  %low = bitcast <8 x i64> %four to <16 x i32>
  %high = lshr <16 x i32> %low, splat (i32 8)
  %first = and <16 x i32> %low, splat (i32 16711935)
  %second = and <16 x i32> %high, splat (i32 16711935)
  %second.to = getelementptr i8, ptr %to, i64 384
  store <16 x i32> %first, ptr %to, align 64
  store <16 x i32> %second, ptr %second.to, align 64
  ret void
}

; From 16 rows to vectors [group][of two pairs][colour][other rows].
define internal void @spread(ptr %table, i64 %groups, ptr %pairs) {
entry:
  %b.rows = getelementptr ptr, ptr %table, i64 1
  %c.rows = getelementptr ptr, ptr %table, i64 2
  %d.rows = getelementptr ptr, ptr %table, i64 3
  br label %group

group:
  %g = phi i64 [ 0, %entry ], [ %g.next, %group ]
  %byte = mul i64 %g, 12
  %a = call <16 x i32> @four_rows(ptr %table, i64 %byte)
  %b = call <16 x i32> @four_rows(ptr %b.rows, i64 %byte)
  %c = call <16 x i32> @four_rows(ptr %c.rows, i64 %byte)
  %d = call <16 x i32> @four_rows(ptr %d.rows, i64 %byte)
  %ab.lower = call <8 x i64> @lower(<16 x i32> %a, <16 x i32> %b)
  %ab.upper = call <8 x i64> @upper(<16 x i32> %a, <16 x i32> %b)
  %cd.lower = call <8 x i64> @lower(<16 x i32> %c, <16 x i32> %d)
  %cd.upper = call <8 x i64> @upper(<16 x i32> %c, <16 x i32> %d)
  %red = call <8 x i64> @first(<8 x i64> %ab.lower, <8 x i64> %cd.lower)
  %green = call <8 x i64> @second(<8 x i64> %ab.lower, <8 x i64> %cd.lower)
  %blue = call <8 x i64> @first(<8 x i64> %ab.upper, <8 x i64> %cd.upper)
  %red.to = getelementptr [768 x i8], ptr %pairs, i64 %g
  %green.to = getelementptr i8, ptr %red.to, i64 128
  %blue.to = getelementptr i8, ptr %red.to, i64 256
  call void @store_pairs(<8 x i64> %red, ptr %red.to)
  call void @store_pairs(<8 x i64> %green, ptr %green.to)
  call void @store_pairs(<8 x i64> %blue, ptr %blue.to)
  %g.next = add i64 %g, 1
  %more = icmp slt i64 %g.next, %groups
  br i1 %more, label %group, label %done

done:
  ret void
}

; Stores rounded sums of even and of odd rows as pairs.
define internal void @store_rounded(<16 x i32> %even.high, <16 x i32> %even.low, <16 x i32> %odd.high, <16 x i32> %odd.low, ptr %to) alwaysinline {
  %even.rounded = call <16 x i32> @rounded(<16 x i32> %even.high, <16 x i32> %even.low)
  %odd.rounded = call <16 x i32> @rounded(<16 x i32> %odd.high, <16 x i32> %odd.low)
  %odd.shifted = shl <16 x i32> %odd.rounded, splat (i32 16)
  %both = or <16 x i32> %even.rounded, %odd.shifted
  store <16 x i32> %both, ptr %to, align 64
  ret void
}

; Meanwhile what lies ahead in the image is fetched into the caches, three lines at a time.
define internal void @across(ptr %pairs, ptr %weights, i64 %taps, i64 %after, ptr %ahead, ptr %sums) {
entry:
  %size = add i64 %taps, 1
  br label %column

column:
  %x = phi i64 [ 0, %entry ], [ %x.next, %column.end ]
  %before = mul i64 %x, %size
  %first.at = getelementptr i64, ptr %weights, i64 %before
  %first = load i64, ptr %first.at
  %from = getelementptr [384 x i8], ptr %pairs, i64 %first
  %weights.x = getelementptr i64, ptr %first.at, i64 1
  %ahead.a = getelementptr [192 x i8], ptr %ahead, i64 %x
  %ahead.b = getelementptr i8, ptr %ahead.a, i64 64
  %ahead.c = getelementptr i8, ptr %ahead.a, i64 128
  call void @llvm.prefetch.p0(ptr %ahead.a, i32 0, i32 2, i32 1)
  call void @llvm.prefetch.p0(ptr %ahead.b, i32 0, i32 2, i32 1)
  call void @llvm.prefetch.p0(ptr %ahead.c, i32 0, i32 2, i32 1)
  br label %tap

tap:
  %i = phi i64 [ 0, %column ], [ %i.next, %tap ]
  %red.even.high = phi <16 x i32> [ zeroinitializer, %column ], [ %red.even.high.next, %tap ]
  %red.even.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %red.even.low.next, %tap ]
  %red.odd.high = phi <16 x i32> [ zeroinitializer, %column ], [ %red.odd.high.next, %tap ]
  %red.odd.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %red.odd.low.next, %tap ]
  %green.even.high = phi <16 x i32> [ zeroinitializer, %column ], [ %green.even.high.next, %tap ]
  %green.even.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %green.even.low.next, %tap ]
  %green.odd.high = phi <16 x i32> [ zeroinitializer, %column ], [ %green.odd.high.next, %tap ]
  %green.odd.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %green.odd.low.next, %tap ]
  %blue.even.high = phi <16 x i32> [ zeroinitializer, %column ], [ %blue.even.high.next, %tap ]
  %blue.even.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %blue.even.low.next, %tap ]
  %blue.odd.high = phi <16 x i32> [ zeroinitializer, %column ], [ %blue.odd.high.next, %tap ]
  %blue.odd.low = phi <16 x i32> [ splat (i32 2097152), %column ], [ %blue.odd.low.next, %tap ]
  %at = getelementptr [384 x i8], ptr %from, i64 %i
  %red.even.at = getelementptr i8, ptr %at, i64 0
  %red.even = load <16 x i32>, ptr %red.even.at, align 64
  %red.odd.at = getelementptr i8, ptr %at, i64 64
  %red.odd = load <16 x i32>, ptr %red.odd.at, align 64
  %green.even.at = getelementptr i8, ptr %at, i64 128
  %green.even = load <16 x i32>, ptr %green.even.at, align 64
  %green.odd.at = getelementptr i8, ptr %at, i64 192
  %green.odd = load <16 x i32>, ptr %green.odd.at, align 64
  %blue.even.at = getelementptr i8, ptr %at, i64 256
  %blue.even = load <16 x i32>, ptr %blue.even.at, align 64
  %blue.odd.at = getelementptr i8, ptr %at, i64 320
  %blue.odd = load <16 x i32>, ptr %blue.odd.at, align 64
  %high.at = getelementptr i64, ptr %weights.x, i64 %i
  %low.at = getelementptr i32, ptr %high.at, i64 1
  %high = call <16 x i32> @splat(ptr %high.at)
  %low = call <16 x i32> @splat(ptr %low.at)
  %red.even.high.next = call <16 x i32> @add_products(<16 x i32> %red.even.high, <16 x i32> %red.even, <16 x i32> %high)
  %red.even.low.next = call <16 x i32> @add_products(<16 x i32> %red.even.low, <16 x i32> %red.even, <16 x i32> %low)
  %red.odd.high.next = call <16 x i32> @add_products(<16 x i32> %red.odd.high, <16 x i32> %red.odd, <16 x i32> %high)
  %red.odd.low.next = call <16 x i32> @add_products(<16 x i32> %red.odd.low, <16 x i32> %red.odd, <16 x i32> %low)
  %green.even.high.next = call <16 x i32> @add_products(<16 x i32> %green.even.high, <16 x i32> %green.even, <16 x i32> %high)
  %green.even.low.next = call <16 x i32> @add_products(<16 x i32> %green.even.low, <16 x i32> %green.even, <16 x i32> %low)
  %green.odd.high.next = call <16 x i32> @add_products(<16 x i32> %green.odd.high, <16 x i32> %green.odd, <16 x i32> %high)
  %green.odd.low.next = call <16 x i32> @add_products(<16 x i32> %green.odd.low, <16 x i32> %green.odd, <16 x i32> %low)
  %blue.even.high.next = call <16 x i32> @add_products(<16 x i32> %blue.even.high, <16 x i32> %blue.even, <16 x i32> %high)
  %blue.even.low.next = call <16 x i32> @add_products(<16 x i32> %blue.even.low, <16 x i32> %blue.even, <16 x i32> %low)
  %blue.odd.high.next = call <16 x i32> @add_products(<16 x i32> %blue.odd.high, <16 x i32> %blue.odd, <16 x i32> %high)
  %blue.odd.low.next = call <16 x i32> @add_products(<16 x i32> %blue.odd.low, <16 x i32> %blue.odd, <16 x i32> %low)
  %i.next = add i64 %i, 1
  %more.taps = icmp slt i64 %i.next, %taps
  br i1 %more.taps, label %tap, label %column.end

column.end:
  %to = getelementptr [192 x i8], ptr %sums, i64 %x
  %red.to = getelementptr i8, ptr %to, i64 0
  call void @store_rounded(<16 x i32> %red.even.high.next, <16 x i32> %red.even.low.next, <16 x i32> %red.odd.high.next, <16 x i32> %red.odd.low.next, ptr %red.to)
  %green.to = getelementptr i8, ptr %to, i64 64
  call void @store_rounded(<16 x i32> %green.even.high.next, <16 x i32> %green.even.low.next, <16 x i32> %green.odd.high.next, <16 x i32> %green.odd.low.next, ptr %green.to)
  %blue.to = getelementptr i8, ptr %to, i64 128
  call void @store_rounded(<16 x i32> %blue.even.high.next, <16 x i32> %blue.even.low.next, <16 x i32> %blue.odd.high.next, <16 x i32> %blue.odd.low.next, ptr %blue.to)
  %x.next = add i64 %x, 1
  %more = icmp slt i64 %x.next, %after
  br i1 %more, label %column, label %done

done:
  ret void
}

; Turns four vectors of 16: in each quarter, row i and column j change places.
define internal void @turn_quarters(ptr %from) alwaysinline {
  %b.from = getelementptr i8, ptr %from, i64 64
  %c.from = getelementptr i8, ptr %from, i64 128
  %d.from = getelementptr i8, ptr %from, i64 192
  %a = load <16 x i32>, ptr %from, align 64
  %b = load <16 x i32>, ptr %b.from, align 64
  %c = load <16 x i32>, ptr %c.from, align 64
  %d = load <16 x i32>, ptr %d.from, align 64
  %ab.lower = call <8 x i64> @lower(<16 x i32> %a, <16 x i32> %b)
  %ab.upper = call <8 x i64> @upper(<16 x i32> %a, <16 x i32> %b)
  %cd.lower = call <8 x i64> @lower(<16 x i32> %c, <16 x i32> %d)
  %cd.upper = call <8 x i64> @upper(<16 x i32> %c, <16 x i32> %d)
  %one = call <8 x i64> @first(<8 x i64> %ab.lower, <8 x i64> %cd.lower)
  %two = call <8 x i64> @second(<8 x i64> %ab.lower, <8 x i64> %cd.lower)
  %three = call <8 x i64> @first(<8 x i64> %ab.upper, <8 x i64> %cd.upper)
  %four = call <8 x i64> @second(<8 x i64> %ab.upper, <8 x i64> %cd.upper)
  store <8 x i64> %one, ptr %from, align 64
  store <8 x i64> %two, ptr %b.from, align 64
  store <8 x i64> %three, ptr %c.from, align 64
  store <8 x i64> %four, ptr %d.from, align 64
  ret void
}

; The quarters of every fourth of 16 vectors, turned: quarter i of vector j changes places.
define internal void @turn_fourths(ptr %from, ptr %to) alwaysinline {
  %b.from = getelementptr i8, ptr %from, i64 256
  %c.from = getelementptr i8, ptr %from, i64 512
  %d.from = getelementptr i8, ptr %from, i64 768
  %b.to = getelementptr i8, ptr %to, i64 256
  %c.to = getelementptr i8, ptr %to, i64 512
  %d.to = getelementptr i8, ptr %to, i64 768
  %a = load <8 x i64>, ptr %from, align 64
  %b = load <8 x i64>, ptr %b.from, align 64
  %c = load <8 x i64>, ptr %c.from, align 64
  %d = load <8 x i64>, ptr %d.from, align 64
  %ab.lower = shufflevector <8 x i64> %a, <8 x i64> %b, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 8, i32 9, i32 10, i32 11>
  %ab.upper = shufflevector <8 x i64> %a, <8 x i64> %b, <8 x i32> <i32 4, i32 5, i32 6, i32 7, i32 12, i32 13, i32 14, i32 15>
  %cd.lower = shufflevector <8 x i64> %c, <8 x i64> %d, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 8, i32 9, i32 10, i32 11>
  %cd.upper = shufflevector <8 x i64> %c, <8 x i64> %d, <8 x i32> <i32 4, i32 5, i32 6, i32 7, i32 12, i32 13, i32 14, i32 15>
  %one = shufflevector <8 x i64> %ab.lower, <8 x i64> %cd.lower, <8 x i32> <i32 0, i32 1, i32 4, i32 5, i32 8, i32 9, i32 12, i32 13>
  %two = shufflevector <8 x i64> %ab.lower, <8 x i64> %cd.lower, <8 x i32> <i32 2, i32 3, i32 6, i32 7, i32 10, i32 11, i32 14, i32 15>
  %three = shufflevector <8 x i64> %ab.upper, <8 x i64> %cd.upper, <8 x i32> <i32 0, i32 1, i32 4, i32 5, i32 8, i32 9, i32 12, i32 13>
  %four = shufflevector <8 x i64> %ab.upper, <8 x i64> %cd.upper, <8 x i32> <i32 2, i32 3, i32 6, i32 7, i32 10, i32 11, i32 14, i32 15>
  store <8 x i64> %one, ptr %to, align 64
  store <8 x i64> %two, ptr %b.to, align 64
  store <8 x i64> %three, ptr %c.to, align 64
  store <8 x i64> %four, ptr %d.to, align 64
  ret void
}

define internal void @turn(ptr %sums, i64 %blocks, ptr %columns, i64 %kept) {
entry:
  br label %block

block:
  %b = phi i64 [ 0, %entry ], [ %b.next, %block.end ]
  %from = getelementptr [1024 x i8], ptr %sums, i64 %b
  %before = mul i64 %b, %kept
  %to = getelementptr [64 x i8], ptr %columns, i64 %before
  br label %quarters

quarters:
  %q = phi i64 [ 0, %block ], [ %q.next, %quarters ]
  %q.from = getelementptr [256 x i8], ptr %from, i64 %q
  call void @turn_quarters(ptr %q.from)
  %q.next = add i64 %q, 1
  %more.quarters = icmp slt i64 %q.next, 4
  br i1 %more.quarters, label %quarters, label %fourths

fourths:
  %f = phi i64 [ 0, %quarters ], [ %f.next, %fourths ]
  %f.from = getelementptr [64 x i8], ptr %from, i64 %f
  %f.to = getelementptr [64 x i8], ptr %to, i64 %f
  call void @turn_fourths(ptr %f.from, ptr %f.to)
  %f.next = add i64 %f, 1
  %more.fourths = icmp slt i64 %f.next, 4
  br i1 %more.fourths, label %fourths, label %block.end

block.end:
  %b.next = add i64 %b, 1
  %more = icmp slt i64 %b.next, %blocks
  br i1 %more, label %block, label %done

done:
  ret void
}

define internal <16 x i8> @bytes(<16 x i32> %high, <16 x i32> %low) alwaysinline {
  %rounded = call <16 x i32> @rounded(<16 x i32> %high, <16 x i32> %low)
  %bytes = trunc <16 x i32> %rounded to <16 x i8>
  ret <16 x i8> %bytes
}

define internal void @down(ptr %columns, i64 %kept, ptr %weights, i64 %taps, i64 %begin, i64 %end, i64 %width, ptr %out) {
entry:
  %edge = alloca <64 x i8>, align 64
  %size = add i64 %taps, 1
  %mask = sub i64 %kept, 1
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %group, label %done

group:
  %x = phi i64 [ 0, %entry ], [ %x.next, %group.end ]
  %rest = sub i64 %width, %x
  %whole = icmp sge i64 %rest, 64
  %count = call i64 @llvm.smin.i64(i64 %rest, i64 64)
  %vectors = mul i64 %x, %kept
  %a.from = getelementptr [4 x i8], ptr %columns, i64 %vectors
  %b.from = getelementptr [64 x i8], ptr %a.from, i64 %kept
  %c.from = getelementptr [64 x i8], ptr %b.from, i64 %kept
  %d.from = getelementptr [64 x i8], ptr %c.from, i64 %kept
  br label %row

row:
  %y = phi i64 [ %begin, %group ], [ %y.next, %row.end ]
  %before = mul i64 %y, %size
  %first.at = getelementptr i64, ptr %weights, i64 %before
  %first = load i64, ptr %first.at
  %weights.y = getelementptr i64, ptr %first.at, i64 1
  br label %tap

tap:
  %i = phi i64 [ 0, %row ], [ %i.next, %tap ]
  %a.high = phi <16 x i32> [ zeroinitializer, %row ], [ %a.high.next, %tap ]
  %a.low = phi <16 x i32> [ splat (i32 2097152), %row ], [ %a.low.next, %tap ]
  %b.high = phi <16 x i32> [ zeroinitializer, %row ], [ %b.high.next, %tap ]
  %b.low = phi <16 x i32> [ splat (i32 2097152), %row ], [ %b.low.next, %tap ]
  %c.high = phi <16 x i32> [ zeroinitializer, %row ], [ %c.high.next, %tap ]
  %c.low = phi <16 x i32> [ splat (i32 2097152), %row ], [ %c.low.next, %tap ]
  %d.high = phi <16 x i32> [ zeroinitializer, %row ], [ %d.high.next, %tap ]
  %d.low = phi <16 x i32> [ splat (i32 2097152), %row ], [ %d.low.next, %tap ]
  %pair = add i64 %first, %i
  %place = and i64 %pair, %mask
  %a.at = getelementptr [64 x i8], ptr %a.from, i64 %place
  %b.at = getelementptr [64 x i8], ptr %b.from, i64 %place
  %c.at = getelementptr [64 x i8], ptr %c.from, i64 %place
  %d.at = getelementptr [64 x i8], ptr %d.from, i64 %place
  %a = load <16 x i32>, ptr %a.at, align 64
  %b = load <16 x i32>, ptr %b.at, align 64
  %c = load <16 x i32>, ptr %c.at, align 64
  %d = load <16 x i32>, ptr %d.at, align 64
  %high.at = getelementptr i64, ptr %weights.y, i64 %i
  %low.at = getelementptr i32, ptr %high.at, i64 1
  %high = call <16 x i32> @splat(ptr %high.at)
  %low = call <16 x i32> @splat(ptr %low.at)
  %a.high.next = call <16 x i32> @add_products(<16 x i32> %a.high, <16 x i32> %a, <16 x i32> %high)
  %a.low.next = call <16 x i32> @add_products(<16 x i32> %a.low, <16 x i32> %a, <16 x i32> %low)
  %b.high.next = call <16 x i32> @add_products(<16 x i32> %b.high, <16 x i32> %b, <16 x i32> %high)
  %b.low.next = call <16 x i32> @add_products(<16 x i32> %b.low, <16 x i32> %b, <16 x i32> %low)
  %c.high.next = call <16 x i32> @add_products(<16 x i32> %c.high, <16 x i32> %c, <16 x i32> %high)
  %c.low.next = call <16 x i32> @add_products(<16 x i32> %c.low, <16 x i32> %c, <16 x i32> %low)
  %d.high.next = call <16 x i32> @add_products(<16 x i32> %d.high, <16 x i32> %d, <16 x i32> %high)
  %d.low.next = call <16 x i32> @add_products(<16 x i32> %d.low, <16 x i32> %d, <16 x i32> %low)
  %i.next = add i64 %i, 1
  %more.taps = icmp slt i64 %i.next, %taps
  br i1 %more.taps, label %tap, label %row.result

row.result:
  %above = mul i64 %y, %width
  %out.row = getelementptr i8, ptr %out, i64 %above
  %to = getelementptr i8, ptr %out.row, i64 %x
  %a.to = select i1 %whole, ptr %to, ptr %edge
  %b.to = getelementptr i8, ptr %a.to, i64 16
  %c.to = getelementptr i8, ptr %a.to, i64 32
  %d.to = getelementptr i8, ptr %a.to, i64 48
  %a.bytes = call <16 x i8> @bytes(<16 x i32> %a.high.next, <16 x i32> %a.low.next)
  %b.bytes = call <16 x i8> @bytes(<16 x i32> %b.high.next, <16 x i32> %b.low.next)
  %c.bytes = call <16 x i8> @bytes(<16 x i32> %c.high.next, <16 x i32> %c.low.next)
  %d.bytes = call <16 x i8> @bytes(<16 x i32> %d.high.next, <16 x i32> %d.low.next)
  store <16 x i8> %a.bytes, ptr %a.to, align 1
  store <16 x i8> %b.bytes, ptr %b.to, align 1
  store <16 x i8> %c.bytes, ptr %c.to, align 1
  store <16 x i8> %d.bytes, ptr %d.to, align 1
  br i1 %whole, label %row.end, label %row.edge

row.edge:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %edge, i64 %count, i1 false)
  br label %row.end

row.end:
  %y.next = add i64 %y, 1
  %more = icmp slt i64 %y.next, %end
  br i1 %more, label %row, label %group.end

group.end:
  %x.next = add i64 %x, 64
  %more.groups = icmp slt i64 %x.next, %width
  br i1 %more.groups, label %group, label %done

done:
  ret void
}

define internal void @resize_image(ptr %rows, i64 %pitch, ptr %plan, ptr %memory, ptr %out) {
entry:
  %table = alloca [32 x ptr], align 64
  %odd.table = getelementptr ptr, ptr %table, i64 16
  %width = load i64, ptr %plan
  %height = call i64 @item(ptr %plan, i64 1)
  %left = call i64 @item(ptr %plan, i64 2)
  %above = call i64 @item(ptr %plan, i64 3)
  %across.taps = call i64 @item(ptr %plan, i64 4)
  %down.taps = call i64 @item(ptr %plan, i64 5)
  %across.after = call i64 @item(ptr %plan, i64 6)
  %down.after = call i64 @item(ptr %plan, i64 7)
  %across.address = call i64 @item(ptr %plan, i64 8)
  %down.address = call i64 @item(ptr %plan, i64 9)
  %kept = call i64 @item(ptr %plan, i64 10)
  %across = inttoptr i64 %across.address to ptr
  %down = inttoptr i64 %down.address to ptr
  %bytes = mul i64 %width, 3
  %bytes.left = mul i64 %left, -3
  %last = sub i64 %height, 1
  %mask = sub i64 %kept, 1
  %down.size = add i64 %down.taps, 1
  %pixels = add i64 %width, %left
  %pixels.more = add i64 %pixels, 3
  %groups = sdiv i64 %pixels.more, 4
  %out.width = mul i64 %across.after, 3
  %out.more = add i64 %out.width, 63
  %blocks.four = sdiv i64 %out.more, 64
  %blocks = mul i64 %blocks.four, 4
  %first.row = getelementptr i8, ptr %memory, i64 16
  %edge.more = add i64 %bytes, 95
  %edge = and i64 %edge.more, -64
  %last.row = getelementptr i8, ptr %first.row, i64 %edge
  %pairs.at = shl i64 %edge, 1
  %pairs = getelementptr i8, ptr %memory, i64 %pairs.at
  %odd.pairs = getelementptr i8, ptr %pairs, i64 64
  %sums = getelementptr [768 x i8], ptr %pairs, i64 %groups
  %columns = getelementptr [1024 x i8], ptr %sums, i64 %blocks
  %above.last = mul i64 %last, %pitch
  %rows.last = getelementptr i8, ptr %rows, i64 %above.last
  call void @llvm.memcpy.p0.p0.i64(ptr %first.row, ptr %rows, i64 %bytes, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %last.row, ptr %rows.last, i64 %bytes, i1 false)
  br label %strip

strip:
  %begin = phi i64 [ 0, %entry ], [ %end, %strip.end ]
  %y.begin = phi i64 [ 0, %entry ], [ %y.end, %strip.end ]
  %end = add i64 %begin, 32
  br label %row

row:                                              ; even rows first, then odd ones
  %r = phi i64 [ 0, %strip ], [ %r.next, %row ]
  %half = lshr i64 %r, 4
  %twice = shl i64 %r, 1
  %even = and i64 %twice, 31
  %nth = add i64 %even, %half
  %number.more = add i64 %begin, %nth
  %number = sub i64 %number.more, %above
  %before = mul i64 %number, %pitch
  %inside = getelementptr i8, ptr %rows, i64 %before
  %is.behind = icmp sge i64 %number, %last
  %is.before = icmp sle i64 %number, 0
  %inside.or.last = select i1 %is.behind, ptr %last.row, ptr %inside
  %row.start = select i1 %is.before, ptr %first.row, ptr %inside.or.last
  %row.from = getelementptr i8, ptr %row.start, i64 %bytes.left
  %row.at = getelementptr ptr, ptr %table, i64 %r
  store ptr %row.from, ptr %row.at
  %r.next = add i64 %r, 1
  %more.rows = icmp slt i64 %r.next, 32
  br i1 %more.rows, label %row, label %steps

steps:
  %pair = lshr i64 %begin, 1
  %place = and i64 %pair, %mask
  %columns.to = getelementptr [64 x i8], ptr %columns, i64 %place
  call void @spread(ptr %table, i64 %groups, ptr %pairs)
  call void @spread(ptr %odd.table, i64 %groups, ptr %odd.pairs)
  %next.before = mul i64 %end, %pitch
  %ahead = getelementptr i8, ptr %rows, i64 %next.before
  call void @across(ptr %pairs, ptr %across, i64 %across.taps, i64 %across.after, ptr %ahead, ptr %sums)
  call void @turn(ptr %sums, i64 %blocks, ptr %columns.to, i64 %kept)
  br label %complete

complete:                                         ; up to where are all rows there by now?
  %y.end = phi i64 [ %y.begin, %steps ], [ %y.next, %complete.or.not ]
  %is.all = icmp eq i64 %y.end, %down.after
  br i1 %is.all, label %strip.end, label %complete.or.not

complete.or.not:
  %y.next = add i64 %y.end, 1
  %y.before = mul i64 %y.end, %down.size
  %y.first = call i64 @item(ptr %down, i64 %y.before)
  %y.last = add i64 %y.first, %down.taps
  %y.rows = shl i64 %y.last, 1
  %is.there = icmp sle i64 %y.rows, %end
  br i1 %is.there, label %complete, label %strip.end

strip.end:
  call void @down(ptr %columns, i64 %kept, ptr %down, i64 %down.taps, i64 %y.begin, i64 %y.end, i64 %out.width, ptr %out)
  %more = icmp slt i64 %y.end, %down.after
  br i1 %more, label %strip, label %done

done:
  ret void
}

define void @resize_images(ptr %images, i64 %count, ptr %plan, ptr %memory) {
entry:
  br label %image

image:
  %i = phi i64 [ 0, %entry ], [ %i.next, %image ]
  %rows.at = getelementptr [3 x i64], ptr %images, i64 %i
  %rows.address = load i64, ptr %rows.at
  %pitch = call i64 @item(ptr %rows.at, i64 1)
  %out.address = call i64 @item(ptr %rows.at, i64 2)
  %rows = inttoptr i64 %rows.address to ptr
  %out = inttoptr i64 %out.address to ptr
  call void @resize_image(ptr %rows, i64 %pitch, ptr %plan, ptr %memory, ptr %out)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %image, label %done

done:
  ret void
}

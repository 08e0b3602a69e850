; Resizes an image in height: each row of the result is a weighted sum of rows.
;
;   rows     uint8 (before, width), the image; width is in bytes, at least 32
;   starts, lengths  int64 (after,), first row and number of rows of each sum, at least one
;   weights  int32 (after, taps), weights with 22 fractional bits
;   out      uint8 (after, width), filled with the result
;
; It is the arithmetic of src/libImaging/Resample.c in Pillow. 32 bytes are summed up at a time,
; in registers; the last 32 of a row overlap those before them. Nothing is checked.

declare <32 x i32> @llvm.smax.v32i32(<32 x i32>, <32 x i32>)
declare <32 x i32> @llvm.smin.v32i32(<32 x i32>, <32 x i32>)

define void @mix_rows(ptr %rows, ptr %starts, ptr %lengths, ptr %weights, i64 %taps, ptr %out, i64 %after, i64 %width) {
entry:
  %last = sub i64 %width, 32
  br label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.end ]
  %start.at = getelementptr i64, ptr %starts, i64 %r
  %start = load i64, ptr %start.at
  %length.at = getelementptr i64, ptr %lengths, i64 %r
  %length = load i64, ptr %length.at
  %weights.before = mul i64 %r, %taps
  %row.weights = getelementptr i32, ptr %weights, i64 %weights.before
  %rows.before = mul i64 %start, %width
  %first.row = getelementptr i8, ptr %rows, i64 %rows.before
  %out.before = mul i64 %r, %width
  %out.row = getelementptr i8, ptr %out, i64 %out.before
  br label %block

block:
  %x = phi i64 [ 0, %row ], [ %x.next, %block.end ]
  %beyond = icmp sgt i64 %x, %last
  %at = select i1 %beyond, i64 %last, i64 %x
  %from = getelementptr i8, ptr %first.row, i64 %at
  br label %tap

tap:                                              ; half a grey value is added, to round
  %i = phi i64 [ 0, %block ], [ %i.next, %tap ]
  %sum = phi <32 x i32> [ splat (i32 2097152), %block ], [ %sum.next, %tap ]
  %pixels.before = mul i64 %i, %width
  %pixels.at = getelementptr i8, ptr %from, i64 %pixels.before
  %bytes = load <32 x i8>, ptr %pixels.at, align 1
  %pixels = zext <32 x i8> %bytes to <32 x i32>
  %weight.at = getelementptr i32, ptr %row.weights, i64 %i
  %weight.one = load i32, ptr %weight.at
  %weight.first = insertelement <32 x i32> poison, i32 %weight.one, i64 0
  %weight = shufflevector <32 x i32> %weight.first, <32 x i32> poison, <32 x i32> zeroinitializer
  %product = mul <32 x i32> %pixels, %weight
  %sum.next = add <32 x i32> %sum, %product
  %i.next = add i64 %i, 1
  %more.taps = icmp slt i64 %i.next, %length
  br i1 %more.taps, label %tap, label %block.end

block.end:
  %whole = ashr <32 x i32> %sum.next, splat (i32 22)
  %not.below = call <32 x i32> @llvm.smax.v32i32(<32 x i32> %whole, <32 x i32> zeroinitializer)
  %in.range = call <32 x i32> @llvm.smin.v32i32(<32 x i32> %not.below, <32 x i32> splat (i32 255))
  %result = trunc <32 x i32> %in.range to <32 x i8>
  %to = getelementptr i8, ptr %out.row, i64 %at
  store <32 x i8> %result, ptr %to, align 1
  %x.next = add i64 %x, 32
  %more.blocks = icmp slt i64 %x.next, %width
  br i1 %more.blocks, label %block, label %row.end

row.end:
  %r.next = add i64 %r, 1
  %more.rows = icmp slt i64 %r.next, %after
  br i1 %more.rows, label %row, label %done

done:
  ret void
}

; `resize_images` for processors that multiply bytes and look bytes up in vectors (AVX-512 with
; VNNI and VBMI): what resize_images.ll does, with the same results, in three quarters of the time.
;
;   images  as there; at least 22 pixels wide
;   plan    int64 (20,), as there and nine more: groups of 16 bytes in a row of the result, a
;           multiple of four; windows of each, and tables of each window; quads for each row of the
;           result; pixels above the image at which quads begin, 0 or 1; addresses of the windows,
;           of their tables and of the weights of the rows; pairs of rows that are kept, a power of
;           two
;   memory  as there
;
; A quad is four neighbours, in the four bytes of a number. A window is 64 bytes of a row that some
; bytes of the result are made of, int64 (groups, windows): where it begins. A table says how, int8
; (groups, windows, tables, 4, 16, 4): for 16 bytes of the result, which four bytes of the window
; count, and the high, middle and low digit of their weights: w = 65536 high + 256 middle + low,
; where digits are -128 to 127. Weights of the rows are int32 (rows, 1 + 3 * quads): the number of
; the first pair of rows, and those digits of each quad.
;
; 16 rows at a time go through two steps, in memory that stays in the caches:
;
;   across  weighted sums, as quads of neighbours in a column, one at each even row
;   down    their weighted sums, for all rows of the result that are complete by now
;
; Nothing is checked.

%sums = type { <16 x i32>, <16 x i32>, <16 x i32> } ; of products with the three digits
%digits = type { <16 x i32>, <16 x i32>, <16 x i32> }

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare <16 x i32> @llvm.fshr.v16i32(<16 x i32>, <16 x i32>, <16 x i32>)
declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <16 x i32>, <16 x i32>)
declare <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8>, <64 x i8>)
declare <32 x i16> @llvm.x86.avx512.packssdw.512(<16 x i32>, <16 x i32>)
declare <64 x i8> @llvm.x86.avx512.packuswb.512(<32 x i16>, <32 x i16>)

define internal i64 @item(ptr %array, i64 %number) alwaysinline {
  %at = getelementptr i64, ptr %array, i64 %number
  %item = load i64, ptr %at
  ret i64 %item
}

define internal ptr @array(ptr %array, i64 %number) alwaysinline {
  %address = call i64 @item(ptr %array, i64 %number)
  %found = inttoptr i64 %address to ptr
  ret ptr %found
}

define internal <16 x i32> @splat(ptr %from) alwaysinline {
  %one = load i32, ptr %from
  %first = insertelement <16 x i32> poison, i32 %one, i64 0
  %all = shufflevector <16 x i32> %first, <16 x i32> poison, <16 x i32> zeroinitializer
  ret <16 x i32> %all
}

define internal %digits @digits(<16 x i32> %high, <16 x i32> %middle, <16 x i32> %low) alwaysinline {
  %one = insertvalue %digits poison, <16 x i32> %high, 0
  %two = insertvalue %digits %one, <16 x i32> %middle, 1
  %three = insertvalue %digits %two, <16 x i32> %low, 2
  ret %digits %three
}

define internal %sums @add_products(%sums %sums, <16 x i32> %quads, %digits %digits) alwaysinline {
  %high = extractvalue %sums %sums, 0
  %middle = extractvalue %sums %sums, 1
  %low = extractvalue %sums %sums, 2
  %by.high = extractvalue %digits %digits, 0
  %by.middle = extractvalue %digits %digits, 1
  %by.low = extractvalue %digits %digits, 2
  %high.next = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %high, <16 x i32> %quads, <16 x i32> %by.high)
  %middle.next = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %middle, <16 x i32> %quads, <16 x i32> %by.middle)
  %low.next = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %low, <16 x i32> %quads, <16 x i32> %by.low)
  %one = insertvalue %sums poison, <16 x i32> %high.next, 0
  %two = insertvalue %sums %one, <16 x i32> %middle.next, 1
  %three = insertvalue %sums %two, <16 x i32> %low.next, 2
  ret %sums %three
}

define internal <16 x i32> @whole(%sums %sums) alwaysinline {
  %high = extractvalue %sums %sums, 0
  %middle = extractvalue %sums %sums, 1
  %low = extractvalue %sums %sums, 2
  %high.shifted = shl <16 x i32> %high, splat (i32 16)
  %middle.shifted = shl <16 x i32> %middle, splat (i32 8)
  %some = add <16 x i32> %middle.shifted, %low
  %all = add <16 x i32> %high.shifted, %some
  %whole = ashr <16 x i32> %all, splat (i32 22)
  ret <16 x i32> %whole
}

; Rounds four times 16 sums, of which the low part has half a grey value on top, to grey values;
; in each quarter of the result are a quarter of the first, one of the second, ...
define internal <64 x i8> @rounded(%sums %a, %sums %b, %sums %c, %sums %d) alwaysinline {
  %a.whole = call <16 x i32> @whole(%sums %a)
  %b.whole = call <16 x i32> @whole(%sums %b)
  %c.whole = call <16 x i32> @whole(%sums %c)
  %d.whole = call <16 x i32> @whole(%sums %d)
  %ab = call <32 x i16> @llvm.x86.avx512.packssdw.512(<16 x i32> %a.whole, <16 x i32> %b.whole)
  %cd = call <32 x i16> @llvm.x86.avx512.packssdw.512(<16 x i32> %c.whole, <16 x i32> %d.whole)
  %bytes = call <64 x i8> @llvm.x86.avx512.packuswb.512(<32 x i16> %ab, <32 x i16> %cd)
  ret <64 x i8> %bytes
}

; A window of the n-th row, while the same of a row to come is fetched into the caches.
define internal <64 x i8> @window(ptr %table, i64 %n, i64 %at, i64 %ahead) alwaysinline {
  %row.at = getelementptr ptr, ptr %table, i64 %n
  %row = load ptr, ptr %row.at
  %from = getelementptr i8, ptr %row, i64 %at
  %to.come = getelementptr i8, ptr %from, i64 %ahead
  call void @llvm.prefetch.p0(ptr %to.come, i32 0, i32 3, i32 1)
  %window = load <64 x i8>, ptr %from, align 1
  ret <64 x i8> %window
}

define internal <16 x i32> @quads(<64 x i8> %window, <64 x i8> %picks) alwaysinline {
  %bytes = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %window, <64 x i8> %picks)
  %quads = bitcast <64 x i8> %bytes to <16 x i32>
  ret <16 x i32> %quads
}

; Stores quads of rows, and those that begin two rows earlier.
define internal void @store_quads(<64 x i8> %rows, ptr %quads, i64 %pair, i64 %mask) alwaysinline {
  %bytes = shufflevector <64 x i8> %rows, <64 x i8> poison, <64 x i32> <
    i32 0, i32 4, i32 8, i32 12, i32 1, i32 5, i32 9, i32 13, i32 2, i32 6, i32 10, i32 14, i32 3, i32 7, i32 11, i32 15,
    i32 16, i32 20, i32 24, i32 28, i32 17, i32 21, i32 25, i32 29, i32 18, i32 22, i32 26, i32 30, i32 19, i32 23, i32 27, i32 31,
    i32 32, i32 36, i32 40, i32 44, i32 33, i32 37, i32 41, i32 45, i32 34, i32 38, i32 42, i32 46, i32 35, i32 39, i32 43, i32 47,
    i32 48, i32 52, i32 56, i32 60, i32 49, i32 53, i32 57, i32 61, i32 50, i32 54, i32 58, i32 62, i32 51, i32 55, i32 59, i32 63>
  %four = bitcast <64 x i8> %bytes to <16 x i32>
  %last.pair = sub i64 %pair, 1
  %pair.before = sub i64 %pair, 2
  %place = and i64 %pair, %mask
  %last.place = and i64 %last.pair, %mask
  %place.before = and i64 %pair.before, %mask
  %to = getelementptr [64 x i8], ptr %quads, i64 %place
  %last.to = getelementptr [64 x i8], ptr %quads, i64 %last.place
  %before.at = getelementptr [64 x i8], ptr %quads, i64 %place.before
  %before = load <16 x i32>, ptr %before.at, align 64
  %last = call <16 x i32> @llvm.fshr.v16i32(<16 x i32> %four, <16 x i32> %before, <16 x i32> splat (i32 16))
  store <16 x i32> %four, ptr %to, align 64
  store <16 x i32> %last, ptr %last.to, align 64
  ret void
}

; From 16 rows to vectors [group][pair of rows at which quads begin].
define internal void @across(ptr %rows, i64 %ahead, ptr %plan, i64 %pair, ptr %quads, i64 %kept) {
entry:
  %groups = call i64 @item(ptr %plan, i64 0)
  %windows = call i64 @item(ptr %plan, i64 1)
  %tables = call i64 @item(ptr %plan, i64 2)
  %window.places = call ptr @array(ptr %plan, i64 5)
  %all.tables = call ptr @array(ptr %plan, i64 6)
  %mask = sub i64 %kept, 1
  br label %group

group:
  %g = phi i64 [ 0, %entry ], [ %g.next, %group.end ]
  %g.first = mul i64 %g, %windows
  %g.places = getelementptr i64, ptr %window.places, i64 %g.first
  %g.before = mul i64 %g, %kept
  %g.quads = getelementptr [64 x i8], ptr %quads, i64 %g.before
  br label %four

four:                                             ; rows
  %r = phi i64 [ 0, %group ], [ %r.next, %four.end ]
  %four.rows = getelementptr ptr, ptr %rows, i64 %r
  br label %window

window:
  %w = phi i64 [ 0, %four ], [ %w.next, %window.end ]
  %a.some = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %four ], [ %a.next, %window.end ]
  %b.some = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %four ], [ %b.next, %window.end ]
  %c.some = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %four ], [ %c.next, %window.end ]
  %d.some = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %four ], [ %d.next, %window.end ]
  %place = call i64 @item(ptr %g.places, i64 %w)
  %w.number = add i64 %g.first, %w
  %w.before = mul i64 %w.number, %tables
  %w.tables = getelementptr [256 x i8], ptr %all.tables, i64 %w.before
  %a.window = call <64 x i8> @window(ptr %four.rows, i64 0, i64 %place, i64 %ahead)
  %b.window = call <64 x i8> @window(ptr %four.rows, i64 1, i64 %place, i64 %ahead)
  %c.window = call <64 x i8> @window(ptr %four.rows, i64 2, i64 %place, i64 %ahead)
  %d.window = call <64 x i8> @window(ptr %four.rows, i64 3, i64 %place, i64 %ahead)
  br label %table

table:
  %i = phi i64 [ 0, %window ], [ %i.next, %table ]
  %a.sums = phi %sums [ %a.some, %window ], [ %a.next, %table ]
  %b.sums = phi %sums [ %b.some, %window ], [ %b.next, %table ]
  %c.sums = phi %sums [ %c.some, %window ], [ %c.next, %table ]
  %d.sums = phi %sums [ %d.some, %window ], [ %d.next, %table ]
  %picks.at = getelementptr [256 x i8], ptr %w.tables, i64 %i
  %high.at = getelementptr i8, ptr %picks.at, i64 64
  %middle.at = getelementptr i8, ptr %picks.at, i64 128
  %low.at = getelementptr i8, ptr %picks.at, i64 192
  %picks = load <64 x i8>, ptr %picks.at, align 64
  %high = load <16 x i32>, ptr %high.at, align 64
  %middle = load <16 x i32>, ptr %middle.at, align 64
  %low = load <16 x i32>, ptr %low.at, align 64
  %digits = call %digits @digits(<16 x i32> %high, <16 x i32> %middle, <16 x i32> %low)
  %a = call <16 x i32> @quads(<64 x i8> %a.window, <64 x i8> %picks)
  %b = call <16 x i32> @quads(<64 x i8> %b.window, <64 x i8> %picks)
  %c = call <16 x i32> @quads(<64 x i8> %c.window, <64 x i8> %picks)
  %d = call <16 x i32> @quads(<64 x i8> %d.window, <64 x i8> %picks)
  %a.next = call %sums @add_products(%sums %a.sums, <16 x i32> %a, %digits %digits)
  %b.next = call %sums @add_products(%sums %b.sums, <16 x i32> %b, %digits %digits)
  %c.next = call %sums @add_products(%sums %c.sums, <16 x i32> %c, %digits %digits)
  %d.next = call %sums @add_products(%sums %d.sums, <16 x i32> %d, %digits %digits)
  %i.next = add i64 %i, 1
  %more.tables = icmp slt i64 %i.next, %tables
  br i1 %more.tables, label %table, label %window.end

window.end:
  %w.next = add i64 %w, 1
  %more.windows = icmp slt i64 %w.next, %windows
  br i1 %more.windows, label %window, label %four.end

four.end:
  %four.bytes = call <64 x i8> @rounded(%sums %a.next, %sums %b.next, %sums %c.next, %sums %d.next)
  %r.half = lshr i64 %r, 1
  %r.pair = add i64 %pair, %r.half
  call void @store_quads(<64 x i8> %four.bytes, ptr %g.quads, i64 %r.pair, i64 %mask)
  %r.next = add i64 %r, 4
  %more.rows = icmp slt i64 %r.next, 16
  br i1 %more.rows, label %four, label %group.end

group.end:
  %g.next = add i64 %g, 1
  %more = icmp slt i64 %g.next, %groups
  br i1 %more, label %group, label %done

done:
  ret void
}

define internal void @down(ptr %quads, i64 %kept, ptr %weights, i64 %taps, i64 %begin, i64 %end, i64 %width, ptr %out) {
entry:
  %edge = alloca <64 x i8>, align 64
  %numbers = mul i64 %taps, 3
  %size = add i64 %numbers, 1
  %mask = sub i64 %kept, 1
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %group, label %done

group:
  %x = phi i64 [ 0, %entry ], [ %x.next, %group.end ]
  %rest = sub i64 %width, %x
  %is.whole = icmp sge i64 %rest, 64
  %count = call i64 @llvm.smin.i64(i64 %rest, i64 64)
  %vectors = mul i64 %x, %kept
  %a.from = getelementptr [4 x i8], ptr %quads, i64 %vectors
  %b.from = getelementptr [64 x i8], ptr %a.from, i64 %kept
  %c.from = getelementptr [64 x i8], ptr %b.from, i64 %kept
  %d.from = getelementptr [64 x i8], ptr %c.from, i64 %kept
  br label %row

row:
  %y = phi i64 [ %begin, %group ], [ %y.next, %row.end ]
  %before = mul i64 %y, %size
  %first.at = getelementptr i32, ptr %weights, i64 %before
  %first.32 = load i32, ptr %first.at
  %first = sext i32 %first.32 to i64
  %weights.y = getelementptr i32, ptr %first.at, i64 1
  br label %tap

tap:
  %i = phi i64 [ 0, %row ], [ %i.next, %tap ]
  %a.sums = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %row ], [ %a.next, %tap ]
  %b.sums = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %row ], [ %b.next, %tap ]
  %c.sums = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %row ], [ %c.next, %tap ]
  %d.sums = phi %sums [ { <16 x i32> zeroinitializer, <16 x i32> zeroinitializer, <16 x i32> splat (i32 2097152) }, %row ], [ %d.next, %tap ]
  %i.pairs = shl i64 %i, 1
  %pair = add i64 %first, %i.pairs
  %place = and i64 %pair, %mask
  %a.at = getelementptr [64 x i8], ptr %a.from, i64 %place
  %b.at = getelementptr [64 x i8], ptr %b.from, i64 %place
  %c.at = getelementptr [64 x i8], ptr %c.from, i64 %place
  %d.at = getelementptr [64 x i8], ptr %d.from, i64 %place
  %a = load <16 x i32>, ptr %a.at, align 64
  %b = load <16 x i32>, ptr %b.at, align 64
  %c = load <16 x i32>, ptr %c.at, align 64
  %d = load <16 x i32>, ptr %d.at, align 64
  %high.at = getelementptr [12 x i8], ptr %weights.y, i64 %i
  %middle.at = getelementptr i32, ptr %high.at, i64 1
  %low.at = getelementptr i32, ptr %high.at, i64 2
  %high = call <16 x i32> @splat(ptr %high.at)
  %middle = call <16 x i32> @splat(ptr %middle.at)
  %low = call <16 x i32> @splat(ptr %low.at)
  %digits = call %digits @digits(<16 x i32> %high, <16 x i32> %middle, <16 x i32> %low)
  %a.next = call %sums @add_products(%sums %a.sums, <16 x i32> %a, %digits %digits)
  %b.next = call %sums @add_products(%sums %b.sums, <16 x i32> %b, %digits %digits)
  %c.next = call %sums @add_products(%sums %c.sums, <16 x i32> %c, %digits %digits)
  %d.next = call %sums @add_products(%sums %d.sums, <16 x i32> %d, %digits %digits)
  %i.next = add i64 %i, 1
  %more.taps = icmp slt i64 %i.next, %taps
  br i1 %more.taps, label %tap, label %row.result

row.result:
  %bytes = call <64 x i8> @rounded(%sums %a.next, %sums %b.next, %sums %c.next, %sums %d.next)
  %fours = bitcast <64 x i8> %bytes to <16 x i32>
  %sorted = shufflevector <16 x i32> %fours, <16 x i32> poison, <16 x i32> <i32 0, i32 4, i32 8, i32 12, i32 1, i32 5, i32 9, i32 13, i32 2, i32 6, i32 10, i32 14, i32 3, i32 7, i32 11, i32 15>
  %above = mul i64 %y, %width
  %out.row = getelementptr i8, ptr %out, i64 %above
  %to = getelementptr i8, ptr %out.row, i64 %x
  %whole.or.edge = select i1 %is.whole, ptr %to, ptr %edge
  store <16 x i32> %sorted, ptr %whole.or.edge, align 1
  br i1 %is.whole, label %row.end, label %row.edge

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
  %table = alloca [16 x ptr], align 64
  %height = call i64 @item(ptr %plan, i64 1)
  %columns.after = call i64 @item(ptr %plan, i64 6)
  %down.after = call i64 @item(ptr %plan, i64 7)
  %plan.quads = getelementptr i64, ptr %plan, i64 11
  %taps = call i64 @item(ptr %plan.quads, i64 3)
  %above = call i64 @item(ptr %plan.quads, i64 4)
  %down = call ptr @array(ptr %plan.quads, i64 7)
  %kept = call i64 @item(ptr %plan.quads, i64 8)
  %last = sub i64 %height, 1
  %out.width = mul i64 %columns.after, 3
  %down.numbers = mul i64 %taps, 3
  %down.size = add i64 %down.numbers, 1
  %ahead = mul i64 %pitch, 16
  br label %strip

strip:
  %begin = phi i64 [ 0, %entry ], [ %end, %strip.end ]
  %y.begin = phi i64 [ 0, %entry ], [ %y.end, %strip.end ]
  %end = add i64 %begin, 16
  br label %row

row:
  %r = phi i64 [ 0, %strip ], [ %r.next, %row ]
  %number.more = add i64 %begin, %r
  %number = sub i64 %number.more, %above
  %not.behind = call i64 @llvm.smin.i64(i64 %number, i64 %last)
  %inside = call i64 @llvm.smax.i64(i64 %not.behind, i64 0)
  %before = mul i64 %inside, %pitch
  %row.from = getelementptr i8, ptr %rows, i64 %before
  %row.at = getelementptr ptr, ptr %table, i64 %r
  store ptr %row.from, ptr %row.at
  %r.next = add i64 %r, 1
  %more.rows = icmp slt i64 %r.next, 16
  br i1 %more.rows, label %row, label %steps

steps:
  %pair = lshr i64 %begin, 1
  call void @across(ptr %table, i64 %ahead, ptr %plan.quads, i64 %pair, ptr %memory, i64 %kept)
  br label %complete

complete:                                         ; up to where are all rows there by now?
  %y.end = phi i64 [ %y.begin, %steps ], [ %y.next, %complete.or.not ]
  %is.all = icmp eq i64 %y.end, %down.after
  br i1 %is.all, label %strip.end, label %complete.or.not

complete.or.not:
  %y.next = add i64 %y.end, 1
  %y.before = mul i64 %y.end, %down.size
  %y.first.at = getelementptr i32, ptr %down, i64 %y.before
  %y.first = load i32, ptr %y.first.at
  %y.pair = sext i32 %y.first to i64
  %y.pairs = shl i64 %taps, 1
  %y.last = add i64 %y.pair, %y.pairs
  %y.rows = shl i64 %y.last, 1
  %is.there = icmp sle i64 %y.rows, %end
  br i1 %is.there, label %complete, label %strip.end

strip.end:
  call void @down(ptr %memory, i64 %kept, ptr %down, i64 %taps, i64 %y.begin, i64 %y.end, i64 %out.width, ptr %out)
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
  %this = getelementptr [3 x i64], ptr %images, i64 %i
  %rows = call ptr @array(ptr %this, i64 0)
  %pitch = call i64 @item(ptr %this, i64 1)
  %out = call ptr @array(ptr %this, i64 2)
  call void @resize_image(ptr %rows, i64 %pitch, ptr %plan, ptr %memory, ptr %out)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %image, label %done

done:
  ret void
}

; Copies parts of a tile to where they are needed.
;
;   tile    address of its first pixel
;   pitch   bytes from one row of it to the next; 0 if it has one row, to be repeated
;   sources  null; or int64 (c, 2), the address and the pitch of the tile of each copy
;   copies  int64 (c, 7), what goes from the tile to which rectangle: number of the rectangle;
;           row and byte in the tile; row and byte in the rectangle; rows and bytes
;   begin, end  which of them
;   places  int64 (n, 2), of each rectangle: its address, and the bytes of a row
;   past    1 if nobody will look at the pixels soon, so that they are stored past the caches;
;           ordinary stores would first fetch from memory every line that they overwrite
;
; Nothing is checked.

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @copy_parts(ptr %tile, i64 %pitch, ptr %sources, ptr %copies, i64 %begin, i64 %end, ptr %places, i64 %past) {
entry:
  %some = icmp slt i64 %begin, %end
  %lines = icmp ne i64 %past, 0
  %own = icmp ne ptr %sources, null
  br i1 %some, label %copy, label %done

copy:
  %number = phi i64 [ %begin, %entry ], [ %number.next, %copy.end ]
  br i1 %own, label %own.tile, label %one.copy

own.tile:
  %own.at = getelementptr [2 x i64], ptr %sources, i64 %number
  %own.address = load i64, ptr %own.at
  %own.first = inttoptr i64 %own.address to ptr
  %own.pitch.at = getelementptr i64, ptr %own.at, i64 1
  %own.pitch = load i64, ptr %own.pitch.at
  br label %one.copy

one.copy:
  %from = phi ptr [ %tile, %copy ], [ %own.first, %own.tile ]
  %from.pitch = phi i64 [ %pitch, %copy ], [ %own.pitch, %own.tile ]
  %what = getelementptr [7 x i64], ptr %copies, i64 %number
  %rectangle = load i64, ptr %what
  %y.at = getelementptr i64, ptr %what, i64 1
  %y = load i64, ptr %y.at
  %x.at = getelementptr i64, ptr %what, i64 2
  %x = load i64, ptr %x.at
  %row.at = getelementptr i64, ptr %what, i64 3
  %row = load i64, ptr %row.at
  %column.at = getelementptr i64, ptr %what, i64 4
  %column = load i64, ptr %column.at
  %rows.at = getelementptr i64, ptr %what, i64 5
  %rows = load i64, ptr %rows.at
  %bytes.at = getelementptr i64, ptr %what, i64 6
  %bytes = load i64, ptr %bytes.at
  %place = getelementptr [2 x i64], ptr %places, i64 %rectangle
  %to.address = load i64, ptr %place
  %to = inttoptr i64 %to.address to ptr
  %to.pitch.at = getelementptr i64, ptr %place, i64 1
  %to.pitch = load i64, ptr %to.pitch.at
  %above = mul i64 %y, %from.pitch
  %before = add i64 %above, %x
  %source.first = getelementptr i8, ptr %from, i64 %before
  %to.above = mul i64 %row, %to.pitch
  %to.before = add i64 %to.above, %column
  %target.first = getelementptr i8, ptr %to, i64 %to.before
  %has.rows = icmp sgt i64 %rows, 0
  br i1 %has.rows, label %one.row, label %copy.end

one.row:
  %n = phi i64 [ 0, %one.copy ], [ %n.next, %row.end ]
  %source = phi ptr [ %source.first, %one.copy ], [ %source.next, %row.end ]
  %target = phi ptr [ %target.first, %one.copy ], [ %target.next, %row.end ]
  br i1 %lines, label %first.bytes, label %whole.row

whole.row:
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  br label %row.end

first.bytes:                                      ; up to where a line of the caches begins
  %target.address = ptrtoint ptr %target to i64
  %negative = sub i64 0, %target.address
  %to.line = and i64 %negative, 63
  %short = icmp slt i64 %bytes, %to.line
  %head = select i1 %short, i64 %bytes, i64 %to.line
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %head, i1 false)
  br label %line.or.not

line.or.not:
  %copied = phi i64 [ %head, %first.bytes ], [ %copied.next, %line ]
  %copied.next = add i64 %copied, 64
  %fits = icmp sle i64 %copied.next, %bytes
  br i1 %fits, label %line, label %last.bytes

line:
  %line.from = getelementptr i8, ptr %source, i64 %copied
  %line.to = getelementptr i8, ptr %target, i64 %copied
  %pixels = load <64 x i8>, ptr %line.from, align 1
  store <64 x i8> %pixels, ptr %line.to, align 64, !nontemporal !0
  br label %line.or.not

last.bytes:
  %left = sub i64 %bytes, %copied
  %left.from = getelementptr i8, ptr %source, i64 %copied
  %left.to = getelementptr i8, ptr %target, i64 %copied
  call void @llvm.memcpy.p0.p0.i64(ptr %left.to, ptr %left.from, i64 %left, i1 false)
  br label %row.end

row.end:
  %source.next = getelementptr i8, ptr %source, i64 %from.pitch
  %target.next = getelementptr i8, ptr %target, i64 %to.pitch
  %n.next = add i64 %n, 1
  %more.rows = icmp slt i64 %n.next, %rows
  br i1 %more.rows, label %one.row, label %copy.end

copy.end:
  %number.next = add i64 %number, 1
  %more = icmp slt i64 %number.next, %end
  br i1 %more, label %copy, label %done

done:                                             ; everybody sees what went past the caches
  fence seq_cst
  ret void
}

!0 = !{ i32 1 }

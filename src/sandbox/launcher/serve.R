# Serves the Plumber API of a bundle on a Unix socket, for the sandbox of connect-bench.
#
# Arguments: path of the socket. The bundle is the working directory. plumber's own run() knows only TCP, where R's
# httpuv writes head and body apart and small responses wait 40 ms for an acknowledgement; a Unix socket has none.
socket <- commandArgs(trailingOnly = TRUE)[[1]]
files <- intersect(c("entrypoint.R", "entrypoint.r", "plumber.R", "plumber.r"), list.files())
if (length(files) == 0) stop("the bundle has neither plumber.R nor entrypoint.R")
api <- if (grepl("^entrypoint", files[[1]])) source(files[[1]])$value else plumber::plumb(files[[1]])
# 63 is 0077 in octal: nobody else may connect.
server <- httpuv::startPipeServer(socket, 63L, api)
# Not for ever: once in thousands of requests the loop is not told of one, and looks by itself only every 2 s.
repeat later::run_now(0.1)

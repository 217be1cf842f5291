"""The viewer: a small local web server that shows the runs of a folder, and the page that draws them."""

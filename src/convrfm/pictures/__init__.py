"""What a matrix on patches does to images: transformed images, eigenfilters, edges."""

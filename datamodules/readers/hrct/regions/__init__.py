"""What was drawn on series: contours, boxes, masks, structure sets and segmentations."""

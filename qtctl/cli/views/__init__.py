"""What several commands show: health, halts, permits, targets, scores, plans, …"""

"""Pure building blocks of methods: losses, heads, masks, positions, teachers, ranks."""

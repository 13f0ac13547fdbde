"""Episodes as data: driven, rewound and saved as traces, as tracks for a web page, with their last frames' history."""
